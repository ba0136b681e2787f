"""When a peer that failed is tried again: in its turn, and out of turn when others return."""

import math
from itertools import pairwise

import pytest
import trio
from engine_lab import LINKS, multihash, small

from primedht import limits
from primedht.dht.departed import Departed
from primedht.ids import PeerId
from primedht.kad.key import distance, key_of
from primedht.sim.world import SimWorld

OWN = key_of(PeerId(multihash(b"own")))
PEERS = sorted(
    (PeerId(multihash(b"peer %d" % number)) for number in range(6)),
    key=lambda peer: distance(key_of(peer), OWN),
)


@pytest.fixture
def departed():
    gone = Departed(OWN)
    for peer in PEERS[1:]:
        gone.note_failure(peer, 0.0, was_member=True)
    return gone


def bring_back(departed, *, lost_at=0.0):
    departed.note_failure(PEERS[0], lost_at, was_member=True)
    assert departed.forget(PEERS[0])


def test_lost_members_are_tried_out_of_turn_closest_first_and_each_but_once(departed):
    assert departed.closest_out_of_turn(1.0, exclude=()) is None, "nobody has returned"
    bring_back(departed)
    tried = []
    while (peer := departed.closest_out_of_turn(1.0, exclude=())) is not None:
        departed.try_out_of_turn(peer, 1.0)
        tried.append(peer)
    assert tried == PEERS[1:]
    assert departed.closest_out_of_turn(1.0 + limits.DEPARTED_OUT_OF_TURN_S, exclude=tried[:2]) == tried[2]


def test_a_try_out_of_turn_uses_up_no_attempt(departed):
    peer, now = PEERS[1], 0.0
    for _ in range(2 * limits.DEPARTED_ATTEMPTS_MAX):
        departed.try_out_of_turn(peer, now)
        assert departed.note_failure(peer, now, was_member=False)
        now += limits.DEPARTED_OUT_OF_TURN_S
    departed.note_failure(peer, now, was_member=False)
    pause_s = limits.DEPARTED_PAUSE_GROWTH * limits.DEPARTED_PAUSE_S
    assert peer not in departed.due(now + pause_s - 1)
    assert peer in departed.due(now + pause_s)


def test_one_that_returns_says_nothing_of_those_lost_at_another_time(departed):
    bring_back(departed, lost_at=limits.DEPARTED_TOGETHER_S + 1)
    assert departed.closest_out_of_turn(1000.0, exclude=()) is None
    bring_back(departed, lost_at=limits.DEPARTED_TOGETHER_S)
    assert departed.closest_out_of_turn(1000.0, exclude=()) == PEERS[1]


def test_a_lost_neighbour_is_tried_often_at_first(departed):
    peer, now, tried_at = PEERS[1], 0.0, []
    while now < 600:
        if peer in departed.due(now):
            tried_at.append(now)
            departed.note_failure(peer, now, was_member=False, is_near=True)
        now += 5
    pauses = [later - earlier for earlier, later in pairwise(tried_at)]
    assert [pause for at, pause in zip(tried_at, pauses, strict=False) if at < limits.DEPARTED_NEAR_S] == [
        10, *[limits.DEPARTED_NEAR_PAUSE_S] * 7
    ]  # fmt: skip
    assert pauses[8] == limits.DEPARTED_PAUSE_GROWTH * limits.DEPARTED_NEAR_PAUSE_S


def test_a_peer_is_given_up_after_its_attempts(departed):
    outcomes = [
        departed.note_failure(PEERS[1], 0.0, was_member=False) for _ in range(limits.DEPARTED_ATTEMPTS_MAX)
    ]
    assert outcomes == [True] * (limits.DEPARTED_ATTEMPTS_MAX - 1) + [False]
    assert PEERS[1] not in departed


def test_strangers_and_those_set_aside_have_no_try_out_of_turn():
    departed = Departed(OWN)
    departed.note_failure(PEERS[0], 0.0, was_member=False)
    departed.set_aside(PEERS[1], 0.0, was_member=True)
    assert departed.closest_out_of_turn(100.0, exclude=()) is None
    assert not departed.may_be_back(PEERS[0], 100.0)
    assert not departed.may_be_back(PEERS[1], 100.0)


def test_word_of_a_peer_that_failed_just_now_is_old(departed):
    assert not departed.may_be_back(PEERS[1], limits.DEPARTED_WORD_AFTER_S - 1)
    assert departed.may_be_back(PEERS[1], limits.DEPARTED_WORD_AFTER_S)
    departed.try_out_of_turn(PEERS[1], 20.0)
    assert not departed.may_be_back(PEERS[1], 50.0)
    assert not departed.may_be_back(PEERS[0], math.inf)


def test_returning_is_told_of_lost_members_only(departed):
    departed.note_failure(PEERS[0], 0.0, was_member=False)
    assert not departed.forget(PEERS[0])
    assert departed.forget(PEERS[1])
    assert not departed.forget(PEERS[1])


async def test_one_that_returns_brings_the_others_back(autojump_clock):
    """Pauses have grown to minutes, yet the halves are whole seconds after one connection."""
    async with SimWorld(38, 12, links=LINKS, config=small(k_bucket_size=20)) as world:
        await world.settle()
        one, other = world.nodes[:6], world.nodes[6:]
        cuts = world.network.faults.partition([node.peer for node in one], [node.peer for node in other])
        await world.until(lambda: all(len(node.dht.routing_table) == 5 for node in world.nodes), limit_s=120)
        await trio.sleep(1200)
        world.network.faults.heal(cuts)
        await one[0].host.connect(other[0].peer, other[0].addrs, timeout_s=10.0)
        await world.until(lambda: all(len(node.dht.routing_table) == 11 for node in world.nodes), limit_s=10)
