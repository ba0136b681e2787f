"""What the dates of values say of clocks: only that writers are ahead, and only of fresh values."""

from __future__ import annotations

from primedht import limits
from primedht.assembly import open_node
from primedht.clock import StepWatch
from primedht.config import Config, NetworkConfig, NodeConfig
from primedht.dht.ports import Requester
from primedht.dht.writer_clocks import WriterClocks
from primedht.ids import PeerId
from primedht.kad.messages import Record


def peer(number: int) -> PeerId:
    return PeerId.from_public_key(b"\x08\x01\x12\x20" + number.to_bytes(32, "big"))


def test_the_most_that_a_writer_was_ahead_counts() -> None:
    clocks = WriterClocks()
    for ahead_s in (-0.5, -0.1, -3.0):
        clocks.note(peer(1), ahead_s)
    clocks.note(peer(2), 40.0)
    assert clocks.ahead_s() == (-0.1, 40.0)


def test_a_value_that_was_dated_long_ago_says_nothing() -> None:
    clocks = WriterClocks()
    clocks.note(peer(1), -3600.0)
    assert clocks.ahead_s() == ()


def test_only_the_latest_writers_are_remembered() -> None:
    clocks = WriterClocks()
    for number in range(limits.WRITER_CLOCKS_MAX + 10):
        clocks.note(peer(number), float(number))
    assert len(clocks.ahead_s()) == limits.WRITER_CLOCKS_MAX
    assert min(clocks.ahead_s()) == 10.0


async def test_a_writers_own_put_is_looked_at_and_a_copy_is_not() -> None:
    settings = Config(
        network=NetworkConfig(name="clocks"), node=NodeConfig(listen=("/ip4/127.0.0.1/tcp/0",), mdns=False)
    )
    async with open_node(settings) as node:
        copies, now = node.dht.copies, node.dht.copies._clock.unix_now()
        writer, ahead_unix_ms = peer(1), int((now + 30) * 1000)
        requester = Requester(writer, "127.0.0.1", 1 << 20)
        copy = Record(b"a", b"v", writer_unix_ms=ahead_unix_ms, publisher=bytes(peer(2)), ttl_s=60)
        await copies.receive(requester, copy)
        assert copies.writer_clocks.ahead_s() == ()
        await copies.receive(
            requester, Record(b"b", b"v", writer_unix_ms=ahead_unix_ms, publisher=bytes(writer))
        )
        (ahead_s,) = copies.writer_clocks.ahead_s()
        assert 20 < ahead_s <= 31


def test_a_clock_that_nobody_sets_takes_no_step() -> None:
    assert abs(StepWatch().stepped_s()) < 1
