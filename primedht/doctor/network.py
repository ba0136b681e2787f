"""Checks of a running node and its network: listening, reachable, bootstrap, table, a record's round trip."""

from __future__ import annotations

import ipaddress

import trio

from primedht import limits
from primedht.dht.bootstrap import Attempt
from primedht.errors import PrimeDhtError, PskMismatch
from primedht.findings import Finding, Severity
from primedht.node import Node
from primedht.units import format_duration
from primedht.wire import addrs as wire


async def check_listening(node: Node) -> list[Finding]:
    """Connect to each listening socket of the node from this machine."""
    sockets = node.host.swarm.listening()
    if not sockets:
        if node.dht.mode.serving:
            return [Finding.problem("listening", "not_listening", "a server without an address")]
        return [Finding.good("listening", "nowhere, and a client need not")]
    dead = [f"{host}:{port}" for host, port in sockets if not await _accepts(host, port)]
    if dead:
        return [Finding.problem("listening", "listener_dead", f"nobody answers at {', '.join(dead)}")]
    kind = "server" if node.dht.mode.serving else "client"
    where = ", ".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in sockets)
    return [Finding.good("listening", f"on {where}, as {kind} ({node.dht.mode.reason})")]


async def _accepts(host: str, port: int) -> bool:
    ip = ipaddress.ip_address(host)
    target = ("::1" if ip.version == 6 else "127.0.0.1") if ip.is_unspecified else host
    with trio.move_on_after(limits.DOCTOR_LISTENER_S):
        try:
            stream = await trio.open_tcp_stream(target, port)
        except OSError:
            return False
        await stream.aclose()
        return True
    return False


async def check_reachable(node: Node) -> list[Finding]:
    """Look at which addresses peers see us, and whether they can dial ours."""
    findings = []
    public = node.dht.config.network_kind == "public"
    own_ips = {str(ip) for ip in map(wire.ip_of, node.own_addrs()) if ip is not None}
    seen = {ip: count for ip, count in node.host.observed_ips().items() if ip not in own_ips}
    seen = {ip: count for ip, count in seen.items() if not ipaddress.ip_address(ip).is_loopback}
    if seen:
        ip, count = max(seen.items(), key=lambda item: item[1])
        text = f"seen by {_peers(count)} at {ip}, which is none of its addresses"
        severity: Severity | None = None if public or ipaddress.ip_address(ip).is_global else "note"
        findings.append(Finding.problem("reachable", "address_translated", text, severity=severity))
    findings.append(await _reached(node, public=public))
    return findings


async def _reached(node: Node, *, public: bool) -> Finding:
    """Say whether others can connect: by peers that dial back when asked, else by those that came."""
    if not node.dht.mode.serving:
        return Finding.good("reachable", "a client need not be")
    answers = await node.host.ask_dial_backs(
        peers_max=limits.DOCTOR_DIAL_BACKS, timeout_s=limits.DOCTOR_DIAL_BACK_S
    )
    reached = [each.text for each in answers if each.reached]
    if reached:
        return Finding.good("reachable", f"{_peers(len(reached))} dialled it back at {reached[0]}")
    counts = node.host.swarm.counts
    inbound = counts["opened_inbound_public"] if public else counts["opened_inbound"]
    if inbound:
        times = "once" if inbound == 1 else f"{inbound} times"
        return Finding.good("reachable", f"peers have connected to it {times}")
    failed = [each.text for each in answers if each.reached is False]
    if failed:
        text = f"{_peers(len(failed))} could not dial it back: {failed[0]}"
        return Finding.problem("reachable", "unreachable", text)
    if not len(node.dht.routing_table):
        text = "no peer is there that could have connected"
    else:
        text = "no peer has connected to it so far, and none could be asked to dial it back"
    return Finding.problem("reachable", "reachability_unknown", text)


async def check_bootstrap(node: Node) -> list[Finding]:
    """Try every bootstrap address by itself, those that answered before too."""
    bootstrap = node.dht.bootstrap
    if not bootstrap.addrs:
        return [Finding.problem("bootstrap", "bootstrap_none", "no bootstrap address is configured")]
    attempts: dict[str, Attempt] = {}

    async def attempt(addr: str) -> None:
        attempts[addr] = await bootstrap.attempt(addr)

    async with trio.open_nursery() as nursery:
        for addr in bootstrap.addrs:
            nursery.start_soon(attempt, addr)
    some_answer = any(each.code == "ok" for each in attempts.values())
    return [_bootstrap_finding(attempts[addr], some_answer) for addr in bootstrap.addrs]


def _bootstrap_finding(attempt: Attempt, some_answer: bool) -> Finding:
    text = f"{attempt.addr}: {attempt.detail}"
    if attempt.code in ("ok", "self"):
        return Finding.good("bootstrap", text)
    if attempt.code in ("no_kad", PskMismatch.code):
        severity: Severity | None = "warning" if some_answer else None
        if attempt.code == PskMismatch.code:
            text += f" [{attempt.code}]"
        return Finding.problem("bootstrap", "bootstrap_wrong_network", text, severity=severity)
    code = "bootstrap_unanswered" if some_answer else "bootstrap_unreachable"
    return Finding.problem("bootstrap", code, f"{text} [{attempt.code}]")


async def check_table(node: Node) -> list[Finding]:
    """Compare the routing table with what the estimated size of the network lets expect."""
    table = node.dht.routing_table
    size = len(table)
    if not size:
        why = node.dht.bootstrap.why_empty() or "it was just filled"
        severity: Severity | None = None if node.dht.bootstrap.addrs else "note"
        return [Finding.problem("routing table", "table_empty", f"empty: {why}", severity=severity)]
    estimate = node.dht.lookups.network_size.estimate(trio.current_time())
    if estimate is None:
        text = f"{_peers(size)}; too few lookups yet to estimate the network's size"
        return [Finding.good("routing table", text)]
    expected = expected_table_size(estimate, node.dht.config.k_bucket_size)
    text = f"{_peers(size)} of about {expected:.0f} in a network of about {estimate:.0f}"
    # While all peers fit into one bucket, the few lookups say too little of how many there are.
    if estimate > node.dht.config.k_bucket_size and size < limits.DOCTOR_TABLE_SHARE_MIN * expected:
        return [Finding.problem("routing table", "table_small", text)]
    return [Finding.good("routing table", text)]


def expected_table_size(network_size: float, bucket_size: int) -> float:
    """Return how many peers a full routing table has in a network of `network_size` other peers.

    Half of all peers differ from us in the first bit, a quarter in the second, and so on.
    Source: Maymounkov and Mazieres, Kademlia, section 2.4.
    """
    expected, left = 0.0, network_size
    while left >= 1.0:
        in_bucket = left / 2 if left > bucket_size else left
        expected += min(in_bucket, bucket_size)
        left -= in_bucket
    return expected


async def check_round_trip(node: Node) -> list[Finding]:
    """Put a record of the node's own and read it back, from another holder where there is one."""
    began = trio.current_time()
    try:
        with trio.fail_after(limits.DOCTOR_ROUND_TRIP_S):
            key, value = node.own_record()
            put = await node.put(key, value, ttl=limits.DOCTOR_RECORD_TTL_S, once=True)
            found = await node.get_record(key, quorum=min(2, len(put.holders)))
    except PrimeDhtError as error:
        return [Finding.problem("round trip", "round_trip_failed", f"{error} [{error.code}]")]
    except trio.TooSlowError:
        text = f"not done within {format_duration(limits.DOCTOR_ROUND_TRIP_S)}"
        return [Finding.problem("round trip", "round_trip_failed", text)]
    took_s = trio.current_time() - began
    held = f"{len(put.holders)} of {put.replication_factor}"
    if found.value != value:
        text = "another value came back than was put; is a node with this identity running elsewhere?"
        return [Finding.problem("round trip", "round_trip_failed", text)]
    if took_s > limits.DOCTOR_ROUND_TRIP_SLOW_S:
        text = f"a put and a get took {format_duration(took_s)}; stored on {held}"
        return [Finding.problem("round trip", "lookups_slow", text)]
    text = f"stored on {held} and read back in {format_duration(took_s)}"
    if put.degraded:
        codes = ", ".join(sorted({each.code for each in put.refused}))
        text += f"; refused: {codes}" if codes else "; there are no more peers yet"
        severity: Severity | None = None if codes else "note"
        return [Finding.problem("round trip", "round_trip_degraded", text, severity=severity)]
    return [Finding.good("round trip", text)]


def _peers(count: int) -> str:
    return "1 peer" if count == 1 else f"{count} peers"
