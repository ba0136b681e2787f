"""Tags: protection by several owners, weights, and whom trimming closes first."""

from __future__ import annotations

import trio
from host_helpers import connect, eventually, running_host

from primedht.host import ConnectionLimits
from primedht.host.tags import PeerTags
from primedht.ids import PeerId

PEER = PeerId(b"\x12\x20" + bytes(32))


def test_protection_lasts_until_every_owner_has_taken_it_back():
    tags = PeerTags()
    tags.protect(PEER, "kbucket")
    tags.protect(PEER, "client")
    tags.protect(PEER, "client")
    assert tags.unprotect(PEER, "kbucket")
    assert tags.is_protected(PEER)
    assert not tags.unprotect(PEER, "client")
    assert not tags.is_protected(PEER)
    assert not tags.unprotect(PEER, "client")


def test_weights_end_with_the_connections_and_protection_does_not():
    tags = PeerTags()
    tags.tag(PEER, "a", 3)
    tags.tag(PEER, "b", 4)
    tags.protect(PEER, "kbucket")
    assert tags.value(PEER) == 7
    tags.forget(PEER)
    assert tags.value(PEER) == 0
    assert tags.is_protected(PEER)


async def test_trimming_closes_the_least_weight_first_and_spares_grace_and_protection():
    caps = ConnectionLimits(low=2, high=3, max=10, grace_s=0)
    async with running_host(connections=caps) as hub, trio.open_nursery() as nursery:
        closing = trio.Event()
        hosts = []

        async def spoke(task_status):
            async with running_host(listen=()) as host:
                await connect(host, hub)
                hosts.append(host)
                task_status.started()
                await closing.wait()

        for _ in range(5):
            await nursery.start(spoke)
        await eventually(lambda: len(hub.connections.connected()) == 5)
        light, plain, heavy, heaviest, member = (host.peer_id for host in hosts)
        tags = hub.swarm.tags
        tags.tag(light, "t", -5)
        tags.tag(heavy, "t", 5)
        tags.tag(heaviest, "t", 5)
        tags.tag(heaviest, "u", 1)
        tags.tag(member, "t", -100)
        hub.connections.protect(member, True)
        for left, gone in ((4, light), (3, plain), (2, heavy)):
            assert hub.swarm.trim(left)
            await eventually(lambda gone=gone: gone not in hub.connections.connected())
            assert len(hub.connections.connected()) == left
        assert tags.value(light) == 0
        assert set(hub.connections.connected()) == {heaviest, member}
        hub.connections.protect(member, False)
        assert hub.swarm.trim(1)
        await eventually(lambda: hub.connections.connected() == (heaviest,))
        closing.set()


async def test_young_connections_are_spared():
    caps = ConnectionLimits(low=0, high=1, max=10, grace_s=3600)
    async with running_host(connections=caps) as hub, running_host() as a, running_host() as b:
        await connect(a, hub)
        await connect(b, hub)
        assert not hub.swarm.trim(0)
        assert len(hub.connections.connected()) == 2
