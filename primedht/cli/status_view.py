"""What `primedht status` shows a person. Machines take `--json`, which has everything."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from rich.table import Table
from rich.text import Text

from primedht.units import format_duration, format_size

_BAR = " ▁▂▃▄▅▆▇█"
_METER_COLUMNS = 10
_NEARLY_FULL = 0.9
_KEPT_ALIVE_SHOWN = 5
_KEY_CHARS = 40


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
    yield "peer id", Text(state["peer_id"], style="cyan")
    yield "network", Text(f"{network['protocol']} ({network['kind']})")
    if network["psk_fingerprint"]:
        yield "shared key", Text(network["psk_fingerprint"])
    yield "mode", Text(f"{'server' if mode['serving'] else 'client'}: {mode['reason']}")
    yield "uptime", Text(format_duration(state["uptime_s"]))
    yield "addresses", Text("\n".join(addr.partition("/p2p/")[0] for addr in state["addrs"]) or "none")
    yield "peers", _peers(table, state["host"]["connections"])
    if table["bucket_sizes"]:
        yield "buckets", _buckets(table)
    for attempt in state["bootstrap"]:
        if attempt["code"] != "ok":
            problem = Text(f"{attempt['addr']}: {attempt['detail']} [{attempt['code']}]", style="yellow")
            yield "bootstrap", problem
    yield "records", _records(storage)
    yield (
        "",
        _meter(storage["bytes"], storage["bytes_max"])
        .append(f", in {storage['backend']}")
        .append("" if storage["durable"] else " (not durable)", style="yellow"),
    )
    yield "blocks", _blocks(state["blocks"])
    yield "", _meter(state["blocks"]["bytes"], state["blocks"]["bytes_max"])
    yield (
        "providers",
        Text(f"{_count(providers['records'], 'record')} of {_count(providers['keys'], 'CID')}"),
    )
    yield "", _meter(providers["bytes"], providers["bytes_max"])
    yield "kept alive", _kept_alive(storage["kept_alive"], state["kept_alive"], providers["provided"])
    for number, job in enumerate(state.get("jobs", ())):
        shown = Text(f"{job['what']}  ").append(job["id"], style="dim")
        yield ("" if number else "jobs"), shown.append(f"\n{job['trouble']}" * bool(job["trouble"]), "yellow")
    for number, each in enumerate((state.get("replicate") or {}).get("asked_again", ())):
        what = Text(f"{each['root']}\n").append(f"{each['state']}; others are asked again", "yellow")
        yield ("" if number else "published"), what


def _peers(table: dict[str, Any], connections: int) -> Text:
    shown = Text(f"{table['peers']} in the routing table, {_count(connections, 'connection')}")
    if table["why_empty"]:
        shown.append(f" ({table['why_empty']})", style="yellow")
    estimate = table["network_size_estimate"]
    return shown.append(f"; some {estimate:,.0f} in the network") if estimate else shown


def _buckets(table: dict[str, Any]) -> Text:
    """Draw a bar for each bucket, the one of the farthest peers first."""
    sizes, full = table["bucket_sizes"], table["bucket_size_max"]
    bars = "".join(_BAR[-(-size * (len(_BAR) - 1) // full)] for size in sizes)
    numbers = " ".join(map(str, sizes))
    return Text().append(bars, style="green").append(f"  {numbers} (up to {full} each, from far to near)")


def _records(storage: dict[str, Any]) -> Text:
    kinds = ", ".join(f"{count} {name}" for name, count in storage["by_namespace"].items() if count)
    shown = Text(
        f"{storage['records']:,} of up to {storage['records_max']:,}{f' ({kinds})' if kinds else ''}"
    )
    troubles = {name: storage[name] for name in ("evicted", "refused", "corrupt") if storage[name]}
    if troubles:
        shown.append(", " + ", ".join(f"{count} {name}" for name, count in troubles.items()), style="yellow")
    return shown


def _blocks(blocks: dict[str, Any]) -> Text:
    shown = Text(f"{blocks['blocks']:,}")
    if blocks["referenced_bytes"]:
        shown.append(f", {format_size(blocks['referenced_bytes'])} of them in files where these lie")
    return shown


def _kept_alive(count: int, soonest: list[dict[str, Any]], provided: int) -> Text:
    shown = Text(f"{_count(count, 'value')} and {_count(provided, 'CID')} of this node's own")
    now = time.time()
    for each in soonest[:_KEPT_ALIVE_SHOWN]:
        key = each["key"] if len(each["key"]) <= _KEY_CHARS else f"{each['key'][: _KEY_CHARS - 1]}…"
        again = format_duration(max(0.0, each["republish_unix_s"] - now))
        shown.append(f"\n{key}").append(f"  {format_size(each['bytes'])}, put again in {again}", style="dim")
    if count > _KEPT_ALIVE_SHOWN:
        shown.append(f"\nand {count - _KEPT_ALIVE_SHOWN} more", style="dim")
    return shown


def _meter(used: int, most: int | None) -> Text:
    """Draw how much of a quota is used, if there is one."""
    if most is None:
        return Text(f"{format_size(used)}, without a limit")
    share = min(1.0, used / most) if most else 1.0
    filled = -(-int(share * _METER_COLUMNS * 100) // 100)
    style = "yellow" if share >= _NEARLY_FULL else "green"
    return (
        Text()
        .append("█" * filled, style=style)
        .append("░" * (_METER_COLUMNS - filled), style="dim")
        .append(f"  {format_size(used)} of {format_size(most)}")
    )


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
