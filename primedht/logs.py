"""Structured logs on standard error: for people (console) or for machines (one JSON object a line)."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Literal, TextIO, cast

import structlog
from structlog.typing import Processor

Level = Literal["debug", "info", "warning", "error"]


def configure_logs(
    level: Level, format: Literal["console", "json"], *, environ: Mapping[str, str] = os.environ
) -> None:
    """Send this process's logs of `level` and above to standard error.

    Libraries' own logs come through at WARNING and above, except libp2p's: it reports each peer's
    mistake as an error of ours, which the host does better.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.StackInfoRenderer(),
            *_renderers(format, environ),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(file=cast("TextIO", _BestEffort(sys.stderr))),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(handlers=[_ToStructlog()], level=logging.WARNING, force=True)
    logging.getLogger("libp2p").setLevel(number if level == "debug" else logging.CRITICAL)


def quieten_unconfigured() -> None:
    """For embedding: unless the program has configured structlog, log warnings only, to standard error.

    Its own default prints everything to standard output, which belongs to the program.
    """
    if not structlog.is_configured():
        structlog.configure(
            wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
            logger_factory=structlog.WriteLoggerFactory(file=cast("TextIO", _BestEffort(sys.stderr))),
        )


def _renderers(format: Literal["console", "json"], environ: Mapping[str, str]) -> list[Processor]:
    if format == "json":
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    colors = sys.stderr.isatty() and not environ.get("NO_COLOR")
    return [
        structlog.dev.ConsoleRenderer(
            colors=colors, exception_formatter=structlog.dev.plain_traceback, pad_event_to=28
        )
    ]


class _BestEffort:
    """A text stream whose failures (a closed pipe, a full disk) never reach those who log."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with suppress(OSError, ValueError):
            self._stream.write(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()


class _ToStructlog(logging.Handler):
    """Hands libraries' log records on, in our form."""

    def emit(self, record: logging.LogRecord) -> None:
        level = record.levelname.lower() if record.levelno < logging.CRITICAL else "critical"
        method = getattr(structlog.get_logger(record.name), level, None)
        if method is not None:
            method("library_log", logger=record.name, text=record.getMessage())
