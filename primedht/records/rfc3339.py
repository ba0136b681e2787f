"""Times as records carry them: RFC 3339 text with nanoseconds, in UTC.

Source: RFC 3339; IPNS record spec, "Validity"; go-libp2p-kad-dht, internal/utils.go (FormatRFC3339).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

_PATTERN = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,20}))?(?:Z|([+-])(\d\d):(\d\d))", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NS_PER_S = 1_000_000_000
_TEXT_CHARS_MAX = 64


def format_unix_ns(unix_ns: int) -> str:
    """Return unix time in nanoseconds, to the year 9999, as text with nine digits after the point."""
    unix_s, fraction_ns = divmod(unix_ns, _NS_PER_S)
    return f"{_format_unix_s(unix_s)}.{fraction_ns:09d}Z"


@lru_cache(maxsize=16)
def _format_unix_s(unix_s: int) -> str:
    return f"{_EPOCH + timedelta(seconds=unix_s):%Y-%m-%dT%H:%M:%S}"


def parse_unix_ns(text: str) -> int | None:
    """Return the unix time in nanoseconds that `text` gives, or None if it gives none."""
    match = _PATTERN.fullmatch(text) if len(text) <= _TEXT_CHARS_MAX else None
    if match is None:
        return None
    seconds, fraction, sign, offset_h, offset_min = match.groups()
    offset_s = 0
    if sign is not None:
        if int(offset_h) > 23 or int(offset_min) > 59:
            return None
        offset_s = (int(offset_h) * 60 + int(offset_min)) * 60 * (1 if sign == "+" else -1)
    try:
        moment = datetime.fromisoformat(seconds).replace(tzinfo=UTC)
    except ValueError:
        return None
    unix_s = (moment - _EPOCH) // timedelta(seconds=1) - offset_s
    return unix_s * _NS_PER_S + int((fraction or "0").ljust(9, "0")[:9])
