"""`name publish` and `name resolve`: IPNS names, signed pointers to content."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from primedht.cli import common
from primedht.cli.common import AsJson, Control, DataDirOption, Timeout
from primedht.cli.help import App
from primedht.cli.progress import Meter
from primedht.units import format_duration, parse_duration

if TYPE_CHECKING:
    from primedht.results import NameRecord

app = App(name="name", help="Signed names that point at content: /ipns.")


@app.command(epilog="Example: primedht name publish /ipfs/bafkreigh2akiscaildc... --key release")
def publish(
    value: Annotated[str, typer.Argument(metavar="VALUE", help="A content path, or a CID.")],
    key: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Sign with this key of `primedht key ls`.", show_default="the node's own"
        ),
    ] = None,
    lifetime: Annotated[
        str, typer.Option(metavar="TIME", help="How long the signature holds, if nobody renews it.")
    ] = "48h",
    once: Annotated[
        bool, typer.Option("--once", help="Do not renew it, nor what was published before.")
    ] = False,
    timeout: Timeout = "60s",
    as_json: AsJson = False,
    control: Control = None,
    data_dir: DataDirOption = None,
) -> None:
    """Point a name at content, in the place of what it pointed at."""
    limit_s, lifetime_s = common.timeout_s(timeout), parse_duration(lifetime)
    daemon = common.client(control, data_dir)
    with Meter("publishing"):
        published = daemon.publish_name(value, key=key, lifetime=lifetime_s, once=once, timeout=limit_s)
    record = published.record
    common.print_result(
        {**_record_json(record), "put": common.put_json(published.put)},
        f"/ipns/{record.name} -> {record.value}",
        f"{_details(record)}, stored on {common.holders_text(published.put)}",
        as_json=as_json,
    )


@app.command(epilog="Example: primedht name resolve k51qzi5uqu5dh...")
def resolve(
    name: Annotated[str, typer.Argument(metavar="NAME", help="/ipns/<name>, k51... or a peer id.")],
    quorum: Annotated[int, typer.Option(metavar="N", min=1, help="Ask until N peers had it.")] = 1,
    timeout: Timeout = "60s",
    as_json: AsJson = False,
    control: Control = None,
    data_dir: DataDirOption = None,
) -> None:
    """Print what a name points at, one step."""
    limit_s = common.timeout_s(timeout)
    daemon = common.client(control, data_dir)
    with Meter("looking up"):
        record = daemon.resolve_name(name, quorum=quorum, timeout=limit_s)
    common.print_result(_record_json(record), record.value, as_json=as_json)


def _details(record: NameRecord) -> str:
    left = format_duration(max(0.0, record.expires_unix_s - time.time()))
    return f"sequence {record.sequence}, good for {left}"


def _record_json(record: NameRecord) -> dict[str, Any]:
    return {
        "name": str(record.name),
        "value": record.value,
        "sequence": record.sequence,
        "expires_unix_s": record.expires_unix_s,
        "ttl_s": record.ttl_s,
        "sources": common.peer_texts(record.sources),
    }
