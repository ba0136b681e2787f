"""`peers`, `connect`, `ping`, `find-peer` and `closest-peers`: the other ends."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from primedht.cli import common
from primedht.cli.common import AsJson, Control, DataDirOption, KeyArgument, Timeout
from primedht.cli.help import App
from primedht.cli.progress import Meter
from primedht.cli.watch import Interval, Watch, show
from primedht.ids import PeerId

app = App()

_PeerArgument = Annotated[str, typer.Argument(metavar="PEER", help="A peer id, such as 12D3KooW...")]


@app.command(epilog="Example: primedht peers --watch")
def peers(
    watch: Watch = False,
    interval: Interval = "2s",
    as_json: AsJson = False,
    control: Control = None,
    data_dir: DataDirOption = None,
) -> None:
    """List the known peers and how each was found."""
    from primedht.cli.peers_view import peers_json, peers_view

    daemon = common.client(control, data_dir)
    show(daemon.peers, peers_view, peers_json if as_json else None, watch=watch, interval=interval)


@app.command(epilog="Example: primedht connect 192.0.2.7:4101")
def connect(
    addr: Annotated[
        str, typer.Argument(metavar="ADDR", help="A multiaddr with or without /p2p, or HOST:PORT.")
    ],
    timeout: Timeout = "30s",
    as_json: AsJson = False,
    control: Control = None,
    data_dir: DataDirOption = None,
) -> None:
    """Connect to a peer."""
    limit_s = common.timeout_s(timeout)
    daemon = common.client(control, data_dir)
    with Meter("connecting"):
        peer = daemon.connect(addr, timeout=limit_s)
    common.print_result(common.peer_json(peer), f"connected to {peer.id}", as_json=as_json)


@app.command(epilog="Example: primedht ping 12D3KooW... --count 3")
def ping(
    peer: _PeerArgument,
    count: Annotated[int, typer.Option(metavar="N", min=1, help="How many, a second apart.")] = 1,
    timeout: Timeout = "10s",
    as_json: AsJson = False,
    control: Control = None,
    data_dir: DataDirOption = None,
) -> None:
    """Measure the round-trip time to a peer."""
    wanted, limit_s = PeerId.from_text(peer), common.timeout_s(timeout)
    daemon = common.client(control, data_dir)
    for number in range(count):
        if number:
            time.sleep(1.0)
        round_trip_s = daemon.ping(wanted, timeout=limit_s)
        common.print_result(
            {"peer": peer, "round_trip_s": round_trip_s},
            f"{peer}: {round_trip_s * 1000:.1f} ms",
            as_json=as_json,
        )


@app.command("find-peer", epilog="Example: primedht find-peer 12D3KooW...")
def find_peer(
    peer: _PeerArgument,
    timeout: Timeout = "60s",
    as_json: AsJson = False,
    control: Control = None,
    data_dir: DataDirOption = None,
) -> None:
    """Print a peer's addresses, one a line."""
    wanted, limit_s = PeerId.from_text(peer), common.timeout_s(timeout)
    daemon = common.client(control, data_dir)
    with Meter("looking up"):
        found = daemon.find_peer(wanted, timeout=limit_s)
    common.print_result(
        common.peer_json(found), *(f"{addr}/p2p/{found.id}" for addr in found.addrs), as_json=as_json
    )


@app.command("closest-peers", epilog="Example: primedht closest-peers greeting")
def closest_peers(
    key: KeyArgument,
    timeout: Timeout = "60s",
    as_json: AsJson = False,
    control: Control = None,
    data_dir: DataDirOption = None,
) -> None:
    """Print the reachable peers closest to a key, nearest first."""
    wire_key, limit_s = common.key_of(key), common.timeout_s(timeout)
    daemon = common.client(control, data_dir)
    with Meter("looking up"):
        found = daemon.closest_peers(wire_key, timeout=limit_s)
    common.print_result([*map(common.peer_json, found)], *(peer.id for peer in found), as_json=as_json)
