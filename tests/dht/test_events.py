"""Each operation ends in one event, and nobody who listens holds it up."""

from dataclasses import replace

import pytest
import trio
from engine_lab import LINKS

from primedht import limits
from primedht.clock import SystemClock
from primedht.dht.events import Events, Subscription
from primedht.errors import InvalidArgument, PeerNotFound, QuorumNotReached, TooBusy, ValueNotFound
from primedht.events import OPERATIONS, OperationEnded
from primedht.ids import PeerId
from primedht.sim.world import SimWorld

MULTIHASH = b"\x12\x20" + b"m" * 32


def taken(events: Subscription) -> list[OperationEnded]:
    """Return what waits."""
    found = []
    while True:
        try:
            found.append(events._receive.receive_nowait())
        except trio.WouldBlock:
            return found


async def test_every_operation_ends_in_one_event(autojump_clock):
    async with SimWorld(1, 4, links=LINKS) as world:
        await world.settle()
        node, *others = world.nodes
        dht = node.dht
        absent = PeerId(bytes.fromhex("122011") + b"x" * 31)
        with dht.events.subscribe(want_trace=True) as events, dht.events.subscribe() as plain:
            put = await dht.put_value(b"key", b"value")
            found = await dht.get_value(b"key")
            async for _ in dht.search_value(b"key"):
                pass
            await dht.values.republish(b"key")
            await dht.delete_value(b"key")
            with pytest.raises(ValueNotFound):
                await dht.get_value(b"key")
            told = await dht.provide(MULTIHASH)
            async for _ in others[0].dht.find_providers(MULTIHASH):
                pass
            async for _ in dht.find_providers(MULTIHASH):
                pass
            await dht.find_peer(others[0].peer)
            with pytest.raises(PeerNotFound):
                await dht.find_peer(absent)
            closest = await dht.closest_peers(b"key")
            with pytest.raises(QuorumNotReached):
                await dht.put_value(b"few", b"v", min_holders=9)
            await dht.hand_over(budget_s=1)
            ended = taken(events)
            assert [replace(each, trace=None) for each in ended] == taken(plain), (
                "who wants no traces gets none"
            )
        assert [(each.operation, each.key, each.outcome) for each in ended] == [
            ("put", b"key", "ok"),
            ("get", b"key", "ok"),
            ("search", b"key", "ok"),
            ("delete", b"key", "ok"),
            ("get", b"key", "value_not_found"),
            ("provide", MULTIHASH, "ok"),
            ("find_providers", MULTIHASH, "ok"),
            ("find_peer", bytes(others[0].peer), "ok"),
            ("find_peer", bytes(absent), "peer_not_found"),
            ("closest_peers", b"key", "ok"),
            ("put", b"few", "quorum_not_reached"),
            ("hand_over", b"", "ok"),
        ]
        assert {each.operation for each in ended} <= set(OPERATIONS)
        first, second = ended[0], ended[1]
        assert (first.peers, first.value_bytes, first.trace) == (put.holders, 5, put.trace)
        assert (second.peers, second.trace) == (found.sources, found.trace)
        assert first.took_s > 0
        assert first.started_unix_s <= second.started_unix_s
        assert ended[4].trace is not None, "a lookup that failed is told of too"
        assert ended[5].peers == told.told
        assert ended[6].peers == (node.peer,)
        assert ended[9].peers == closest.closest


async def test_what_is_done_on_schedule_is_told_too(autojump_clock):
    async with SimWorld(2, 3, links=LINKS) as world:
        await world.settle()
        dht = world.nodes[0].dht
        await dht.put_value(b"key", b"value")
        await dht.provide(MULTIHASH)
        with dht.events.subscribe(["republish", "reprovide"]) as events:
            await trio.sleep(limits.REPROVIDE_INTERVAL_S + 600)
            ended = taken(events)
    by_name = {each.operation: each for each in ended}
    assert (by_name["republish"].key, by_name["republish"].outcome) == (b"key", "ok")
    assert (by_name["reprovide"].key, by_name["reprovide"].outcome) == (MULTIHASH, "ok")
    assert by_name["republish"].peers
    assert by_name["reprovide"].peers


async def test_a_caller_that_gives_up_and_a_fault_are_outcomes_too(autojump_clock):
    hub = Events(SystemClock())
    with hub.subscribe() as events:
        with trio.move_on_after(1), hub.operation("get", b"k"):
            await trio.sleep_forever()
        with pytest.raises(ZeroDivisionError), hub.operation("get", b"k"):
            1 / 0  # noqa: B018
        assert [(each.outcome, each.took_s) for each in taken(events)] == [
            ("cancelled", 1),
            ("internal_error", 0),
        ]


async def test_who_takes_events_too_slowly_gets_those_that_waited_and_the_end(monkeypatch):
    monkeypatch.setattr(limits, "EVENTS_WAITING_MAX", 3)
    hub = Events(SystemClock())
    with hub.subscribe() as slow, hub.subscribe() as other:
        for number in range(5):
            with hub.operation("get", b"%d" % number):
                pass
            assert (await anext(other)).key == b"%d" % number
        assert slow.lagged
        assert [each.key async for each in slow] == [b"0", b"1", b"2"]
        assert not other.lagged


async def test_subscribers_have_a_limit(monkeypatch):
    monkeypatch.setattr(limits, "SUBSCRIBERS_MAX", 1)
    hub = Events(SystemClock())
    with hub.subscribe(), pytest.raises(TooBusy), hub.subscribe():
        pass
    with hub.subscribe():
        pass


async def test_a_subscription_may_want_some_operations_only():
    hub = Events(SystemClock())
    with hub.subscribe(["put"]) as events:
        for name in ("get", "put", "delete"):
            with hub.operation(name, b"k"):
                pass
        assert [each.operation for each in taken(events)] == ["put"]
    with (
        pytest.raises(InvalidArgument, match="no operation is called 'puts'; there are put, get"),
        hub.subscribe(["puts"]),
    ):
        pass
    assert not hub._subscriptions
