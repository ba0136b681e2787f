"""`provide`, `stop-providing` and `find-providers`: who has the content of a CID."""

from __future__ import annotations

from typing import Annotated

import typer

from primedht.cids import parse_cid
from primedht.cli import common, exits
from primedht.cli.common import AsJson, CidArgument, Control, DataDirOption, Timeout
from primedht.cli.help import App
from primedht.cli.progress import Meter
from primedht.units import format_count

app = App()


@app.command(epilog="Example: primedht provide bafkreigh2akiscaildc...")
def provide(
    cid: CidArgument,
    timeout: Timeout = "60s",
    as_json: AsJson = False,
    control: Control = None,
    data_dir: DataDirOption = None,
) -> None:
    """Announce that this node has the content.

    It is announced again until stop-providing.
    """
    content, limit_s = parse_cid(cid), common.timeout_s(timeout)
    daemon = common.client(control, data_dir)
    with Meter("announcing"):
        result = daemon.provide(content, timeout=limit_s)
    told = f"announced to {format_count(len(result.told), 'peer')}"
    common.print_result(
        {
            "cid": cid,
            "told": common.peer_texts(result.told),
            "failed": common.refusals_json(result.failed),
        },
        told if result.told else "announced (no other peer yet)",
        as_json=as_json,
    )


@app.command("stop-providing", epilog="Example: primedht stop-providing bafkrei...")
def stop_providing(
    cid: CidArgument,
    as_json: AsJson = False,
    control: Control = None,
    data_dir: DataDirOption = None,
) -> None:
    """Announce the content no longer.

    What other peers know of it expires within 48 hours.
    """
    content = parse_cid(cid)
    was_provided = common.client(control, data_dir).stop_providing(content)
    common.print_result(
        {"cid": cid, "was_provided": was_provided},
        "no longer announced" if was_provided else "was not announced",
        as_json=as_json,
    )


@app.command("find-providers", epilog="Example: primedht find-providers bafkrei...")
def find_providers(
    cid: CidArgument,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="Stop after N providers.")] = 20,
    timeout: Timeout = "60s",
    as_json: AsJson = False,
    control: Control = None,
    data_dir: DataDirOption = None,
) -> None:
    """Print peers that have the content.

    They are printed as they are found; the status is 3 if there are none.
    """
    content, limit_s = parse_cid(cid), common.timeout_s(timeout)
    daemon = common.client(control, data_dir)
    any_found = False
    for peer in daemon.find_providers(content, limit=limit, timeout=limit_s):
        any_found = True
        common.print_result(common.peer_json(peer), "  ".join((str(peer.id), *peer.addrs)), as_json=as_json)
    if not any_found:
        raise typer.Exit(exits.NOT_FOUND)
