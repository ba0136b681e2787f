"""The one place where an unexpected exception from code that peers drive comes to rest.

A peer that can raise an exception in one of our tasks must not end the node (docs/py-libp2p.md, B1, B2):
every task that works for a peer runs under `supervised`, and nothing else catches everything.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog
import trio
from libp2p.exceptions import BaseLibp2pError

from primedht.errors import PrimeDhtError

log = structlog.get_logger(__name__)

PEER_FAULTS = (
    PrimeDhtError,
    BaseLibp2pError,
    OSError,
    trio.ClosedResourceError,
    trio.BrokenResourceError,
    trio.TooSlowError,
)
"""What a failing or hostile peer causes in the ordinary course of things; not worth a log line."""


async def supervised(
    what: str,
    task: Callable[[], Awaitable[object]],
    subject: object,
    *,
    expected: tuple[type[Exception], ...] = PEER_FAULTS,
) -> str | None:
    """Run `task`; return None if it ended well, else its failure, which is never raised.

    Failures that are not `expected` are logged as errors under the name `what`, with `subject`, on
    which it worked. Cancellation passes through, also when it comes in one group with a failure.
    """
    problem = None
    try:
        await task()
    except* expected as group:
        problem = _first(group)
        log.debug(what, subject=str(subject), error=problem)
    except* Exception as group:
        problem = _first(group)
        log.exception(what, subject=str(subject), error=problem)
    return problem


def told(what: str, call: Callable[..., None], *args: object) -> None:
    """Call a listener; what it raises is logged as `what`, and the caller goes on."""
    try:
        call(*args)
    except Exception:
        log.exception(what)


def _first(group: BaseExceptionGroup[BaseException]) -> str:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = str(error)[:300]
    return text if text and isinstance(error, PrimeDhtError) else f"{type(error).__name__}: {text}"
