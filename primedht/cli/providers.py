"""`provide`, `stop-providing` and `find-providers`: who has the content of a CID."""

from __future__ import annotations

from typing import Annotated

import typer

from primedht.cids import parse_cid
from primedht.cli import common, exits
from primedht.cli.common import AsJson, CidArgument, Control, DataDirOption, Timeout
from primedht.cli.help import App

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
    result = common.client(control, data_dir).provide(content, timeout=limit_s)
    if as_json:
        common.print_json(
            {
                "cid": cid,
                "told": common.peer_texts(result.told),
                "failed": common.refusals_json(result.failed),
            }
        )
    else:
        print(f"announced to {len(result.told)} peers" if result.told else "announced (no other peer yet)")


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
    if as_json:
        common.print_json({"cid": cid, "was_provided": was_provided})
    else:
        print("no longer announced" if was_provided else "was not announced")


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
        if as_json:
            common.print_json({"peer": str(peer.id), "addrs": list(peer.addrs)})
        else:
            print(peer.id, *peer.addrs, sep="  ", flush=True)
    if not any_found:
        raise typer.Exit(exits.NOT_FOUND)
