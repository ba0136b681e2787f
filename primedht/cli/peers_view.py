"""What `primedht peers` shows a person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.text import Text

from primedht.results import DiscoveredPeer


def peers_view(known: Sequence[DiscoveredPeer]) -> Text:
    """Return the peers, those of the routing table first, with their addresses."""
    if not known:
        return Text("no peers yet; `primedht status` says why")
    members = sum(peer.in_routing_table for peer in known)
    shown = Text(f"{len(known)} known, {members} in the routing table", style="bold")
    for peer in known:
        place = "in table" if peer.in_routing_table else "not in table"
        shown.append(f"\n{peer.id}", style="cyan" if peer.in_routing_table else "not bold")
        shown.append(f"  {place} ({peer.how})", style="not bold")
        for addr in peer.addrs:
            shown.append(f"\n    {addr}", style="dim not bold")
    return shown


def peers_json(known: Sequence[DiscoveredPeer]) -> list[dict[str, Any]]:
    """Return the stable JSON form of the peers."""
    return [
        {
            "peer": str(peer.id),
            "how": peer.how,
            "in_routing_table": peer.in_routing_table,
            "addrs": list(peer.addrs),
        }
        for peer in known
    ]
