"""What `primedht status` shows a person. Machines take `--json`, which has everything."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.table import Table
from rich.text import Text

from primedht.units import format_duration, format_size

_BAR = " ▁▂▃▄▅▆▇█"


def status_view(state: dict[str, Any]) -> Table:
    """Return the state of a node as two columns: what, and how it is."""
    view = Table.grid(padding=(0, 2))
    view.add_column(style="bold", no_wrap=True)
    view.add_column(overflow="fold")
    for label, value in _rows(state):
        view.add_row(label, value)
    return view


def _rows(state: dict[str, Any]) -> Iterator[tuple[str, Text]]:
    network, mode, table = state["network"], state["mode"], state["routing_table"]
    storage, providers = state["storage"], state["providers"]
    yield "peer id", Text(state["peer_id"])
    yield "network", Text(f"{network['protocol']} ({network['kind']})")
    yield "mode", Text(f"{'server' if mode['serving'] else 'client'} ({mode['reason']})")
    yield "addresses", Text("\n".join(state["addrs"]) or "none")
    yield "uptime", Text(format_duration(state["uptime_s"]))
    yield "routing table", _peers(table)
    for attempt in state["bootstrap"]:
        if attempt["code"] != "ok":
            problem = Text(f"{attempt['addr']}: {attempt['detail']} [{attempt['code']}]", style="yellow")
            yield "bootstrap", problem
    yield "records", _records(storage)
    yield "kept alive", Text(f"{_count(storage['kept_alive'], 'value')} of this node's own")
    yield (
        "providers",
        Text(
            f"{_count(providers['records'], 'record')} held, {_count(providers['provided'], 'CID')} provided"
        ),
    )
    yield "connections", Text(str(state["host"]["connections"]))


def _peers(table: dict[str, Any]) -> Text:
    shown = Text(_count(table["peers"], "peer"))
    if table["why_empty"]:
        return shown.append(f" ({table['why_empty']})", style="yellow")
    sizes, full = table["bucket_sizes"], table["bucket_size_max"]
    bars = "".join(_BAR[-(-size * (len(_BAR) - 1) // full)] for size in sizes)
    return (
        shown.append("  ")
        .append(bars, style="cyan")
        .append(f"  {_count(len(sizes), 'bucket')} of up to {full}")
    )


def _records(storage: dict[str, Any]) -> Text:
    kinds = ", ".join(f"{count} {name}" for name, count in storage["by_namespace"].items() if count)
    shown = Text(f"{storage['records']}{f' ({kinds})' if kinds else ''}, {format_size(storage['bytes'])}")
    durable = "durable" if storage["durable"] else "not durable"
    shown.append(f", in {storage['backend']} ({durable})")
    troubles = {name: storage[name] for name in ("evicted", "refused", "corrupt") if storage[name]}
    if troubles:
        shown.append(", " + ", ".join(f"{count} {name}" for name, count in troubles.items()), style="yellow")
    return shown


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
