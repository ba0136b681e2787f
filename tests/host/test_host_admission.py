"""Which handshakes may begin: by address block, and by what all of them may cost."""

from __future__ import annotations

import socket
import time
from contextlib import suppress

import pytest
import trio
from host_helpers import connect, echo, endpoint, running_host
from hypothesis import given
from hypothesis import strategies as st

from primedht import limits
from primedht.host import admission
from primedht.host.admission import BlockRates, CpuBudget, Metered, block_of
from primedht.host.multistream import GREETING, encode_line
from primedht.kad.messages import Message, MessageType

FIND = Message(MessageType.FIND_NODE, key=b"k")
# Costs the listener two Diffie-Hellmans and whoever sends it nothing.
HALF_A_HANDSHAKE = GREETING + encode_line("/noise") + b"\x00\x20" + bytes(range(1, 33))


@pytest.mark.parametrize(
    ("ip", "block"),
    [
        ("8.8.8.8", "8.8.8.0/24"),
        ("2a00:1450:4001:81b::200e", "2a00:1450:4001::/48"),
        ("127.0.0.1", None),
        ("10.1.2.3", None),
        ("100.64.0.1", None),
        ("fe80::1", None),
        ("fd00::1", None),
    ],
)
def test_public_addresses_are_counted_by_block(ip, block):
    assert block_of(ip) == block


def test_a_block_has_a_burst_and_then_a_rate():
    rates, burst = BlockRates(), limits.HANDSHAKES_PER_BLOCK_BURST
    assert all(rates.admits("8.8.8.8", 100.0) for _ in range(burst))
    assert not rates.admits("8.8.8.9", 100.0)
    assert rates.admits("8.8.9.8", 100.0)
    assert all(rates.admits("192.168.0.1", 100.0) for _ in range(2 * burst))
    later = sum(rates.admits("8.8.8.8", 100.0 + second) for second in range(2, 61))
    assert later == 59  # one a second is below the rate


def test_blocks_are_remembered_up_to_a_limit(monkeypatch):
    monkeypatch.setattr(limits, "HANDSHAKE_BLOCKS_MAX", 2)
    monkeypatch.setattr(limits, "HANDSHAKES_PER_BLOCK_BURST", 1)
    rates = BlockRates()
    for ip, admitted in [
        ("8.8.8.8", True),
        ("9.9.9.9", True),
        ("8.8.8.8", False),
        ("1.1.1.1", True),  # 9.9.9.0/24 was seen longest ago
        ("8.8.8.8", False),
        ("9.9.9.9", True),
    ]:
        assert rates.admits(ip, 1.0) is admitted


@given(st.lists(st.floats(0.0001, 0.05), min_size=20, max_size=300))
def test_all_handshakes_together_keep_to_their_share(costs):
    budget, now, spent = CpuBudget(), 1000.0, 0.0
    for cost in costs:
        now += budget.wait_s(now)
        assert budget.wait_s(now) < 1e-6
        reserved = budget.begin(now)
        now += cost
        budget.end(reserved, cost)
        spent += cost
    allowed = limits.HANDSHAKE_CPU_BURST_S + limits.HANDSHAKE_CPU_SHARE * (now - 1000.0) + max(costs)
    assert spent <= allowed + 1e-6


def test_whoever_begins_with_nobody_to_protect_leaves_a_small_debt():
    budget = CpuBudget()
    for _ in range(100_000):
        budget.end(budget.begin(1.0), 0.01)
    assert budget.wait_s(1.0) <= limits.HANDSHAKE_CPU_BURST_S / limits.HANDSHAKE_CPU_SHARE + 1e-6
    assert budget.cost_s == pytest.approx(0.01)


async def test_only_the_steps_of_a_coroutine_are_metered():
    async def busy(seconds):
        until = time.thread_time() + seconds
        while time.thread_time() < until:
            pass

    async def task():
        await busy(0.02)
        for _ in range(3):
            await trio.sleep(0.01)  # the other one is busy then
        with pytest.raises(trio.TooSlowError), trio.fail_after(0.001):
            await trio.sleep_forever()
        return "result"

    async def other():
        await trio.lowlevel.checkpoint()
        await busy(0.2)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        metered = Metered(task())
        assert await metered == "result"
    assert 0.02 <= metered.spent_s < 0.15


async def test_what_a_metered_coroutine_raises_comes_out():
    async def failing():
        await trio.lowlevel.checkpoint()
        raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        await Metered(failing())


class Flood:
    """Dials without pause until its scope ends. dials: how many got as far as a connection."""

    def __init__(self, host) -> None:
        self.endpoint = endpoint(host)
        self.dials = 0

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(40):
                nursery.start_soon(self._dial_on)

    async def _dial_on(self) -> None:
        while True:
            with suppress(OSError, trio.BrokenResourceError):
                stream = await trio.open_tcp_stream(*self.endpoint)
                self.dials += 1
                async with stream:
                    await stream.send_all(HALF_A_HANDSHAKE)
                    with trio.move_on_after(1):
                        await stream.receive_some()


@pytest.mark.parametrize("transport", ["primedht", "libp2p"])
async def test_a_flood_leaves_room_for_established_peers_and_for_newcomers(transport, monkeypatch):
    monkeypatch.setattr(limits, "ESTABLISHED_AFTER_S", 0.0)
    monkeypatch.setattr(limits, "HANDSHAKE_CPU_SHARE", 0.1)
    monkeypatch.setattr(limits, "HANDSHAKE_CPU_BURST_S", 0.05)
    async with (
        running_host(transport=transport) as host,
        running_host(transport=transport) as peer,
        running_host(transport=transport) as newcomer,
    ):
        await host.connections.serve_kad(echo)
        await connect(peer, host)
        started, cpu_before_s = trio.current_time(), host.swarm.handshakes.cpu_s
        flood, answers = Flood(host), 0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood.run)
            while flood.dials < 500 or answers < 50 or not host.swarm.handshakes.counts["delayed"]:
                with trio.fail_after(60):
                    assert await peer.rpc.request(host.peer_id, FIND, timeout_s=30) == FIND
                answers += 1
            elapsed_s = trio.current_time() - started
            spent_s = host.swarm.handshakes.cpu_s - cpu_before_s
            begun_s = 40 * 0.05  # what those of the flood that go on may add until they are counted
            assert spent_s <= 0.05 + 0.1 * elapsed_s + begun_s
            await connect(newcomer, host)
            nursery.cancel_scope.cancel()
        assert peer.peer_id in host.connections.connected()


async def test_a_flood_from_one_block_is_cut_off_and_others_get_in(monkeypatch):
    monkeypatch.setattr(admission, "block_of", lambda ip: ip.rpartition(".")[0])
    async with running_host() as host, running_host() as peer:
        await host.connections.serve_kad(echo)
        await connect(peer, host)
        flood, answers = Flood(host), 0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood.run)
            while flood.dials < 500 or answers < 50:
                with trio.fail_after(60):
                    assert await peer.rpc.request(host.peer_id, FIND, timeout_s=30) == FIND
                answers += 1
            refused = host.swarm.handshakes.counts["refused_rate"]
            assert refused >= flood.dials // 2
            # From another block of loopback a handshake is begun at once.
            elsewhere = socket.socket()
            elsewhere.bind(("127.9.9.9", 0))
            elsewhere.setblocking(False)
            other = trio.SocketStream(trio.socket.from_stdlib_socket(elsewhere))
            await other.socket.connect(endpoint(host))
            await other.send_all(HALF_A_HANDSHAKE)
            with trio.fail_after(30):
                assert (await other.receive_some()).startswith(GREETING)
            nursery.cancel_scope.cancel()
