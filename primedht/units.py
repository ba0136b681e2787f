"""Durations and sizes as people write them: "48h", "1h30m", "10GiB", or plain numbers."""

from __future__ import annotations

import re
import time
from datetime import timedelta

from primedht.errors import InvalidArgument

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {
    "": 1, "b": 1,
    "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
    "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40,
    "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
}  # fmt: skip
_NUMBER = r"\d{1,15}(?:\.\d{1,9})?"
_PART = re.compile(rf"({_NUMBER})(ms|s|m|h|d)")
_DURATION = re.compile(rf"(?:{_NUMBER}(?:ms|s|m|h|d))+")
_SIZE = re.compile(rf"({_NUMBER})\s*([a-z]{{0,3}})", re.IGNORECASE)


def parse_duration(value: str | float | timedelta) -> float:
    """Return seconds. A number, or digits alone, is seconds. Raises `InvalidArgument`."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    text = str(value).strip().replace(" ", "").lower()
    if re.fullmatch(_NUMBER, text):
        return float(text)
    if not _DURATION.fullmatch(text):
        raise InvalidArgument(f"{str(value)[:40]!r} is not a duration; write it like 30s, 10m, 48h or 1h30m")
    return sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))


def parse_size(value: str | float) -> int:
    """Return bytes: KiB, MiB, GiB (also K, M, G) are powers of 1024, KB, MB, GB of 1000."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return int(value)
    match = _SIZE.fullmatch(str(value).strip())
    if match is None or match[2].lower() not in _BYTES:
        raise InvalidArgument(f"{str(value)[:40]!r} is not a size; write it like 512, 64KiB or 10GiB")
    return int(float(match[1]) * _BYTES[match[2].lower()])


def format_duration(seconds: float) -> str:
    """Return a duration for people, to two units: 850ms, 12s, 3m5s, 2h4m, 5d3h."""
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    whole = round(seconds)
    parts: list[tuple[int, str]] = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, whole = divmod(whole, size)
        if count or parts:
            parts.append((count, unit))
    return "".join(f"{count}{unit}" for count, unit in parts[:2] if count)


def format_size(count: float) -> str:
    """Return a size in bytes for people: 812 B, 64.0 KiB, 1.5 GiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def format_date(unix_s: float) -> str:
    """Return a moment in UTC for people, to the second: 2026-11-23 04:20:00."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(min(unix_s, 2**40)))


def format_count(count: int, noun: str) -> str:
    """Return how many there are for people: 1 file, 1,000 files."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def exact_duration(seconds: float) -> str:
    """Return a duration as `parse_duration` takes it, nothing lost: 1h, 1h30m, 500ms, 90.5s."""
    if seconds <= 0 or seconds != round(seconds):
        return f"{seconds * 1000:g}ms" if 0 < seconds < 1 else f"{seconds:g}s"
    parts, rest = [], round(seconds)
    for unit, size in (("h", 3600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


def exact_size(count: int) -> str:
    """Return a size as `parse_size` takes it, nothing lost: 64KiB, 1GiB, 1000."""
    for unit, size in (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count and count % size == 0:
            return f"{count // size}{unit}"
    return str(count)
