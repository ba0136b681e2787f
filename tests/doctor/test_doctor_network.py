"""The checks of a running node, on real nodes on loopback."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from primedht import Config, Node, open_node
from primedht.config import NetworkConfig, NodeConfig
from primedht.dht.bootstrap import Attempt
from primedht.doctor import network, store
from primedht.doctor.examine import examine
from primedht.findings import PROBLEMS, Finding
from primedht.host.autonat import DialBack
from primedht.wire import addrs

LOOPBACK = ("/ip4/127.0.0.1/tcp/0",)


def config(*bootstrap: str, name: str = "doctor", **node: object) -> Config:
    return Config(
        network=NetworkConfig(name=name),
        node=NodeConfig(listen=LOOPBACK, bootstrap=bootstrap, mdns=False, **node),  # type: ignore[arg-type]
    )


async def nodes(stack: AsyncExitStack, count: int) -> list[Node]:
    first = await stack.enter_async_context(open_node(config()))
    rest = [await stack.enter_async_context(open_node(config(first.addrs[0]))) for _ in range(count - 1)]
    with trio.fail_after(30):
        while any(len(node.dht.routing_table) < count - 1 for node in (first, *rest)):  # noqa: ASYNC110
            await trio.sleep(0.02)
    return [first, *rest]


def codes(findings: list[Finding]) -> list[str]:
    return [each.code for each in findings]


def by_check(findings: list[Finding]) -> dict[str, Finding]:
    return {each.check: each for each in findings}


async def test_a_healthy_node_has_nothing_to_mend(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        first, *_, last = await nodes(stack, 4)
        found = by_check(await examine(last))
        assert list(found) == [
            "descriptors", "memory", "clock", "store", "listening", "reachable", "bootstrap",
            "routing table", "round trip",
        ]  # fmt: skip
        for name in ("listening", "bootstrap", "routing table", "round trip"):
            assert found[name].code == "ok", found[name]
        assert first.addrs[0] in found["bootstrap"].text
        assert found["round trip"].text.startswith("stored on 3 of 3 and read back in")
        assert "dialled it back at /ip4/127.0.0.1/tcp/" in found["reachable"].text
        assert found["store"].code == "store_not_durable"
        assert by_check(await network.check_reachable(first))["reachable"].code == "ok"


async def test_a_node_with_a_data_directory_looks_at_its_disk(tmp_path: Path) -> None:
    async with open_node(config(), data_dir=tmp_path / "data") as node:
        found = by_check(await examine(node))
        assert str(tmp_path / "data") in found["file system"].text
        assert found["disk"].code in ("ok", "disk_low")
        assert found["store"].code == "ok"


async def test_a_first_node_is_alone_and_that_is_no_error() -> None:
    async with open_node(config()) as node:
        found = by_check(await examine(node))
        assert (found["bootstrap"].code, found["bootstrap"].severity) == ("bootstrap_none", "note")
        assert (found["routing table"].code, found["routing table"].severity) == ("table_empty", "note")
        assert (found["round trip"].code, found["round trip"].severity) == ("round_trip_degraded", "note")
        assert found["reachable"].code == "reachability_unknown"
        assert not any(each.severity == "error" for each in found.values())


async def test_each_bootstrap_address_is_tried_by_itself() -> None:
    with trio.socket.socket() as free:
        await free.bind(("127.0.0.1", 0))
        dead = f"/ip4/127.0.0.1/tcp/{free.getsockname()[1]}"
    async with open_node(config()) as first, open_node(config(name="another")) as stranger:
        bootstrap = (first.addrs[0], dead, stranger.addrs[0])
        async with open_node(config(*bootstrap)) as node:
            found = await network.check_bootstrap(node)
            assert codes(found) == ["ok", "bootstrap_unanswered", "bootstrap_wrong_network"]
            assert [each.severity for each in found] == ["ok", "warning", "warning"]
            for addr, each in zip(bootstrap, found, strict=True):
                assert addr in each.text
        async with open_node(config(dead, stranger.addrs[0])) as node:
            found = await network.check_bootstrap(node)
            assert codes(found) == ["bootstrap_unreachable", "bootstrap_wrong_network"]
            assert {each.severity for each in found} == {"error"}
            table = (await network.check_table(node))[0]
            assert (table.code, table.severity) == ("table_empty", "error")


async def test_a_node_that_nobody_can_dial_is_told_so() -> None:
    async with AsyncExitStack() as stack:
        _, node = await nodes(stack, 2)
        node.host.swarm.stop_accepting()
        node.host.swarm.counts.clear()
        finding = (await network.check_reachable(node))[-1]
        assert (finding.code, finding.severity) == ("unreachable", "warning")
        assert "1 peer could not dial it back: no address answers" in finding.text
        node.host.swarm.counts["opened_inbound"] = 1
        finding = (await network.check_reachable(node))[-1]
        assert (finding.code, finding.text) == ("ok", "peers have connected to it once")


async def test_where_nobody_can_be_asked_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nobody(**options: object) -> list[DialBack]:
        return [DialBack(None, "dialled too often; ask later")]

    async with AsyncExitStack() as stack:
        _, node = await nodes(stack, 2)
        node.host.swarm.counts.clear()
        monkeypatch.setattr(node.host, "ask_dial_backs", nobody)
        assert codes(await network.check_reachable(node))[-1] == "reachability_unknown"


def test_another_pre_shared_key_is_another_network() -> None:
    attempt = Attempt("/ip4/192.0.2.1/tcp/1", "psk_mismatch", "not under our key")
    finding = network._bootstrap_finding(attempt, some_answer=False)
    assert (finding.code, finding.severity) == ("bootstrap_wrong_network", "error")
    assert "[psk_mismatch]" in finding.text


async def test_a_listener_that_is_gone_is_noticed() -> None:
    async with open_node(config()) as node:
        assert codes(await network.check_listening(node)) == ["ok"]
        with trio.socket.socket() as free:
            await free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        node.host.swarm.listening = lambda: (("127.0.0.1", port),)  # type: ignore[method-assign]
        assert codes(await network.check_listening(node)) == ["listener_dead"]
        node.host.swarm.listening = lambda: ()  # type: ignore[method-assign]
        assert codes(await network.check_listening(node)) == ["not_listening"]
    async with open_node(config(mode="client")) as node:
        node.host.swarm.listening = lambda: ()  # type: ignore[method-assign]
        assert codes(await network.check_listening(node)) == ["ok"]


async def test_peers_that_see_another_address_are_believed_and_named() -> None:
    """Identify tells a node at which address its peer sees it."""
    async with AsyncExitStack() as stack:
        _, node = await nodes(stack, 2)
        assert set(node.host.observed_ips()) == {"127.0.0.1"}
        assert "address_translated" not in codes(await network.check_reachable(node))
        for connection in node.host.swarm.all_connections():
            connection.observed_addr = addrs.parse("/ip4/1.2.3.4/tcp/999")
        finding = (await network.check_reachable(node))[0]
        assert (finding.code, finding.severity) == ("address_translated", "warning")
        assert "at 1.2.3.4, which is none of its addresses" in finding.text
        for connection in node.host.swarm.all_connections():
            connection.observed_addr = addrs.parse("/ip4/10.9.9.9/tcp/999")
        assert (await network.check_reachable(node))[0].severity == "note"


async def test_a_small_table_for_its_network(monkeypatch: pytest.MonkeyPatch) -> None:
    async with AsyncExitStack() as stack:
        _, node = await nodes(stack, 2)
        size = node.dht.lookups.network_size
        monkeypatch.setattr(size, "estimate", lambda now: 500.0)
        finding = (await network.check_table(node))[0]
        assert finding.code == "table_small"
        assert "1 peer of about 111 in a network of about 500" in finding.text
        monkeypatch.setattr(size, "estimate", lambda now: 7.0)
        assert codes(await network.check_table(node)) == ["ok"]


@pytest.mark.parametrize(
    ("network_size", "k", "expected"), [(0, 20, 0), (5, 20, 5), (20, 20, 20), (40, 20, 40)]
)
def test_how_large_a_table_is_to_expect(network_size: float, k: int, expected: float) -> None:
    assert network.expected_table_size(network_size, k) == expected


async def test_a_round_trip_that_fails_or_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    async with AsyncExitStack() as stack:
        _, node = await nodes(stack, 2)
        monkeypatch.setattr(network.limits, "DOCTOR_ROUND_TRIP_SLOW_S", 0.0)
        assert codes(await network.check_round_trip(node)) == ["lookups_slow"]
        monkeypatch.setattr(network.limits, "DOCTOR_ROUND_TRIP_S", 0.0)
        assert codes(await network.check_round_trip(node)) == ["round_trip_failed"]
        monkeypatch.undo()
        await node.put("k", b"v")
        monkeypatch.setattr(node, "own_record", lambda: (b"\0" * 2000, b""))
        finding = (await network.check_round_trip(node))[0]
        assert (finding.code, "invalid_key" in finding.text) == ("round_trip_failed", True)


async def test_the_store_says_when_it_is_full_or_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_node(config()) as node:
        await node.put("k", bytes(8000))
        stats = node.dht.storage.stats()
        monkeypatch.setattr(
            node.dht.storage, "stats", lambda: replace(stats, corrupt=2, bytes_used=(1 << 30) - 1, evicted=7)
        )
        assert codes(await store.check_store(node)) == [
            "store_corrupt", "store_not_durable", "store_nearly_full",
        ]  # fmt: skip
        assert store.growth_bytes_max(node) == 1 + (256 << 20)


async def test_the_record_of_a_public_networks_node_is_one_that_it_takes() -> None:
    settings = Config(
        network=NetworkConfig(kind="private"),
        node=NodeConfig(listen=LOOPBACK, profile="amino", mdns=False),
    )
    async with open_node(settings) as node:
        assert node.dht.config.ipfs_keys_only
        assert codes(await network.check_round_trip(node)) == ["round_trip_degraded"]


def test_every_problem_says_what_to_do_in_one_line() -> None:
    for code, problem in PROBLEMS.items():
        assert problem.advice, code
        assert "\n" not in problem.advice
        assert len(problem.advice) <= 90, code
