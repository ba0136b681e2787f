"""A lookup as a drawing: the tree of who named whom, with a time line beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from primedht.ids import PeerId
from primedht.kad.key import common_prefix_length, key_of
from primedht.results import Asked, Trace
from primedht.units import format_count

_STOPPED = {
    "converged": "the closest peers have answered",
    "exhausted": "everyone within reach has answered, fewer than were wanted",
    "enough": "enough peers agreed",
    "timeout": "the time was up",
    "no_peers": "no other peer is known",
}
_FAILED = {
    "unreachable": "unreachable",
    "timeout": "no answer in time",
    "violation": "answered nonsense",
    "abandoned": "not waited for",
}
_STYLE = {"answered": "green", "abandoned": "dim"}  # others failed
_PEER_ID_CHARS, _PEER_END_CHARS = 52, 8
_WIDE_COLUMNS = 136  # from here on whole peer ids fit
_FIXED_COLUMNS = 46  # all but the peer and the time line
_BAR_COLUMNS = (10, 40)
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def trace_view(trace: Trace, *, width: int) -> RenderableType:
    """Return the drawing of a lookup, for a terminal of `width` columns."""
    stopped = Text(f"{_summary(trace)}; it stopped because {_STOPPED.get(trace.stopped, trace.stopped)}")
    if not trace.asked:
        return stopped
    rows = list(_tree(trace))
    whole = width >= _WIDE_COLUMNS
    indent = max(len(branch) for branch, _ in rows)
    names = indent + (_PEER_ID_CHARS if whole else _PEER_END_CHARS + 1)
    shortest, longest = _BAR_COLUMNS
    columns = max(shortest, min(longest, width - names - _FIXED_COLUMNS))
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("#", justify="right", style="dim")
    table.add_column("peer", no_wrap=True)
    table.add_column("bits", justify="right")
    table.add_column(f"{'0':<{columns - 8}}{_milliseconds(trace.took_s):>8}", no_wrap=True)
    table.add_column("took", justify="right", no_wrap=True)
    table.add_column("said")
    order = {ask.peer: number for number, ask in enumerate(trace.asked, 1)}
    for branch, ask in rows:
        style = _STYLE.get(ask.outcome, "yellow")
        table.add_row(
            str(order[ask.peer]),
            Text(branch, style="dim").append(_name(ask.peer, whole=whole), style="not dim"),
            str(_bits(trace, ask)),
            Text(_bar(ask, trace.took_s, columns), style=style),
            _milliseconds(ask.took_s),
            Text(_said(ask), style="bold green" if ask.has_value else "" if style == "green" else style),
        )
    legend = Text("# order of asking; bits: leading bits in common with the key", style="dim")
    return Group(stopped, Text(), table, Text(), legend)


def trace_json(trace: Trace) -> dict[str, Any]:
    """Return the stable JSON form of a lookup."""
    return {
        "asked": [
            {
                "peer": str(ask.peer),
                "heard_from": None if ask.heard_from is None else str(ask.heard_from),
                "hop": ask.hop,
                "common_bits": _bits(trace, ask),
                "started_s": ask.started_s,
                "took_s": ask.took_s,
                "outcome": ask.outcome,
                "closer": ask.closer,
                "has_value": ask.has_value,
            }
            for ask in trace.asked
        ],
        "stopped": trace.stopped,
        "took_s": trace.took_s,
    }


def _tree(trace: Trace) -> Iterator[tuple[str, Asked]]:
    """Yield each request under the one that named its peer, with the branches that lead to it."""
    asked = {ask.peer for ask in trace.asked}
    below: dict[PeerId | None, list[Asked]] = {}
    for ask in trace.asked:
        below.setdefault(ask.heard_from if ask.heard_from in asked else None, []).append(ask)

    def walk(parent: PeerId | None, indent: str) -> Iterator[tuple[str, Asked]]:
        children = below.pop(parent, [])
        for number, ask in enumerate(children, 1):
            last = number == len(children)
            yield ("" if parent is None else indent + ("└ " if last else "├ ")), ask
            yield from walk(ask.peer, "" if parent is None else indent + ("  " if last else "│ "))

    yield from walk(None, "")


def _summary(trace: Trace) -> str:
    if not trace.asked:
        return f"asked nobody, {_milliseconds(trace.took_s)}"
    counts = Counter(ask.outcome for ask in trace.asked)
    failed = ", ".join(f"{count} {_FAILED[name]}" for name, count in counts.items() if name in _FAILED)
    peers, hops = format_count(len(trace.asked), "peer"), format_count(trace.hops, "hop")
    answered = f"{counts['answered']} answered{', ' + failed if failed else ''}"
    return f"asked {peers} in {hops}, {_milliseconds(trace.took_s)}: {answered}"


def _said(ask: Asked) -> str:
    if ask.outcome != "answered":
        return _FAILED.get(ask.outcome, ask.outcome)
    named = "names nobody" if not ask.closer else f"names {format_count(ask.closer, 'peer')}"
    return f"has it, {named}" if ask.has_value else named


def _bits(trace: Trace, ask: Asked) -> int:
    return common_prefix_length(key_of(ask.peer), key_of(trace.target))


def _name(peer: PeerId, *, whole: bool) -> str:
    return str(peer) if whole else f"…{str(peer)[-_PEER_END_CHARS:]}"


def _bar(ask: Asked, total_s: float, columns: int) -> str:
    """Return a bar from when a peer was asked to when its outcome came, to an eighth of a column."""
    if total_s <= 0:
        return ""
    start = int(ask.started_s / total_s * columns)
    eighths = max(1, round(ask.took_s / total_s * columns * 8))
    whole, rest = divmod(min(eighths, (columns - start) * 8), 8)
    return " " * start + _EIGHTHS[8] * whole + (_EIGHTHS[rest] if rest else "")


def _milliseconds(seconds: float) -> str:
    if seconds >= 10:
        return f"{seconds:.1f} s"
    return f"{seconds * 1000:.1f} ms" if seconds < 0.1 else f"{seconds * 1000:.0f} ms"
