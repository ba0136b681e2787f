"""Provider records: provide, find, limits. Every test here runs the engine in the simulator."""

import pytest
import trio
from engine_lab import LINKS, ROUND_TRIP_S, add_provider, get_providers, multihash, small

from primedht import limits
from primedht.errors import ProtocolViolation
from primedht.kad.messages import MessageType, PeerInfo
from primedht.sim.addresses import host_addr, public_ip
from primedht.sim.peer import answering
from primedht.sim.world import SimWorld
from primedht.wire import addrs as multiaddrs

CID = multihash(b"content")


async def find(node, key=CID, **options):
    return [info async for info in node.dht.find_providers(key, **options)]


async def test_providers_are_found_through_others(autojump_clock):
    """Behaviour 8: a provider is found by nodes that it never spoke to about it."""
    async with SimWorld(8, 25, links=LINKS, config=small()) as world:
        await world.settle()
        provider = world.nodes[4]
        result = await provider.dht.provide(CID)
        assert len(result.told) == 5
        for node in (world.nodes[9], world.nodes[20]):
            assert [info.id for info in await find(node)] == [provider.peer]
            assert (await find(node))[0].addrs == provider.addrs


async def test_providing_locally_does_not_announce(autojump_clock):
    """Behaviour 9: with announce=False only we know, and say so when asked."""
    async with SimWorld(9, 3, links=LINKS) as world:
        await world.settle()
        a, b, _ = world.nodes
        await a.dht.provide(CID, announce=False)
        assert world.network.traffic.sent[MessageType.ADD_PROVIDER] == 0
        assert [info.id for info in await find(a)] == [a.peer]
        reply = await b.host.request(a.peer, get_providers(CID), timeout_s=10)
        assert [info.id for info in reply.provider_peers] == [a.peer]


async def test_providers_stream_as_they_are_found(autojump_clock):
    """Behaviour 10: the first provider arrives before the slow ones have answered."""
    async with SimWorld(10, 1, links=LINKS) as world:
        (node,) = world.nodes
        for number, delay_s in enumerate((0.05, 2.0)):
            named = PeerInfo(world.keypair(500 + number).peer, (host_addr(f"10.1.1.{number + 1}"),))
            peer = await world.add_peer(answering(providers=[named], delay_s=delay_s))
            await world.meet(peer, [node])
        await world.until(lambda: len(node.dht.routing_table) == 2)
        started = trio.current_time()
        stream = node.dht.find_providers(CID, limit=0)
        arrived = [(info.id, trio.current_time() - started) async for info in stream]
        assert [peer for peer, _ in arrived] == [world.keypair(500).peer, world.keypair(501).peer]
        assert arrived[0][1] < 1 < arrived[1][1]


async def test_no_reply_alone_fills_the_limit(autojump_clock):
    """A liar that names many providers and answers first leaves room for those that others know."""
    async with SimWorld(101, 1, links=LINKS) as world:
        (node,) = world.nodes
        lies = [PeerInfo(world.keypair(500 + at).peer, (host_addr(f"10.1.1.{at + 1}"),)) for at in range(30)]
        true = PeerInfo(world.keypair(600).peer, (host_addr("10.1.2.1"),))
        for named, delay_s in ((lies, 0.05), ([true], 1.0)):
            peer = await world.add_peer(answering(providers=named, delay_s=delay_s))
            await world.meet(peer, [node])
        await world.until(lambda: len(node.dht.routing_table) == 2)
        found = [info.id for info in await find(node, limit=10)]
        assert true.id in found
        assert len(found) == 10, "what the first reply named beside that fills the rest"


async def test_providers_expire(autojump_clock):
    """Behaviour 11: a record that nobody renews is gone after 48 hours."""
    async with SimWorld(11, 1, links=LINKS) as world:
        (node,) = world.nodes
        client = await world.add_peer(answering(), serves=False)
        await client.notify(node.peer, add_provider(CID, client.info))
        await trio.sleep(limits.PROVIDER_RECORD_TTL_S - 10)
        assert [info.id for info in await find(node)] == [client.peer]
        await trio.sleep(11)
        assert await find(node) == []


async def test_many_keys_of_many_nodes(autojump_clock):
    """Behaviour 12: every node finds the provider of every key."""
    async with SimWorld(12, 12, links=LINKS) as world:
        await world.settle()
        keys = {multihash(b"%d" % number): node for number, node in enumerate(world.nodes * 3)}
        async with trio.open_nursery() as nursery:
            for key, node in keys.items():
                nursery.start_soon(node.dht.provide, key)
        for asker in world.nodes:
            for key, node in keys.items():
                found = await find(asker, key, limit=0)
                assert [info.id for info in found] == [node.peer]


async def test_a_thousand_providers_are_served(autojump_clock):
    """Behaviour 13: a large set crosses the wire in one reply and streams out whole."""
    async with SimWorld(13, 2, links=LINKS) as world:
        await world.settle()
        holder, asker = world.nodes
        wanted = set()
        for number in range(limits.PROVIDERS_PER_KEY_MAX):
            info = PeerInfo(
                world.keypair(1000 + number).peer, (host_addr(f"10.2.{number >> 8}.{number & 255}"),)
            )
            holder.dht.providers.store.add(CID, info, ip="")
            wanted.add(info.id)
        found = await find(asker, limit=0)
        assert {info.id for info in found} == wanted
        assert all(info.addrs for info in found)


async def test_providers_are_shuffled(autojump_clock):
    """Behaviour 14: no provider is always first."""
    async with SimWorld(14, 1, links=LINKS) as world:
        (node,) = world.nodes
        for number in range(20):
            info = PeerInfo(world.keypair(100 + number).peer, (host_addr(f"10.3.0.{number + 1}"),))
            node.dht.providers.store.add(CID, info, ip="")
        client = await world.add_peer(answering(), serves=False)
        orders = set()
        for _ in range(5):
            reply = await client.request(node.peer, get_providers(CID))
            orders.add(tuple(info.id for info in reply.provider_peers))
        assert len(orders) > 1
        assert {frozenset(order) for order in orders} == {frozenset(next(iter(orders)))}


async def test_a_reply_fits_what_its_requester_takes(autojump_clock):
    """Behaviour 17: (and 18) closer peers and providers together stay within the requester's limit."""
    async with SimWorld(17, 20, links=LINKS) as world:
        await world.settle()
        node = world.nodes[0]
        for number in range(1000):
            addrs = tuple(host_addr(f"10.{4 + at}.{number >> 8}.{number & 255}") for at in range(8))
            node.dht.providers.store.add(CID, PeerInfo(world.keypair(3000 + number).peer, addrs), ip="")
        small_reader = await world.add_peer(answering(), serves=False, reply_bytes_max=16 << 10)
        reply = await small_reader.request(node.peer, get_providers(CID))
        assert reply.closer_peers
        assert 50 < len(reply.provider_peers) < 200
        big_reader = await world.add_peer(answering(), serves=False)
        assert len((await big_reader.request(node.peer, get_providers(CID))).provider_peers) == 1000


async def test_finding_providers_stops_at_the_limit(autojump_clock):
    """Behaviour 55: as many as asked for, and no request after that."""
    async with SimWorld(55, 10, links=LINKS) as world:
        await world.settle()
        for node in world.nodes[:6]:
            await node.dht.provide(CID)
        asker = world.nodes[9]
        assert len(await find(asker, limit=0)) == 6
        for limit in (1, 3, 6):
            assert len(await find(asker, limit=limit)) == limit
        holder = world.nodes[0]
        before = world.network.traffic.sent[MessageType.GET_PROVIDERS]
        assert len(await find(holder, limit=1)) == 1
        assert world.network.traffic.sent[MessageType.GET_PROVIDERS] == before, "it knew one by itself"


async def test_a_provider_entry_that_is_not_its_sender_is_ignored(autojump_clock):
    """Behaviour 58: nobody can be announced by somebody else."""
    async with SimWorld(58, 2, links=LINKS) as world:
        await world.settle()
        node = world.nodes[0]
        client = await world.add_peer(answering(), serves=False)
        other = PeerInfo(world.keypair(99).peer, (host_addr("10.9.9.9"),))
        await client.notify(node.peer, add_provider(CID, other))
        await trio.sleep(1)
        assert await find(node) == []
        await client.notify(node.peer, add_provider(CID, other, client.info))
        await trio.sleep(1)
        assert [info.id for info in await find(node)] == [client.peer]


async def test_an_announcement_without_an_address_or_key_is_refused(autojump_clock):
    """Beside behaviour 58: such an entry would be of no use to anybody."""
    async with SimWorld(57, 1, links=LINKS) as world:
        (node,) = world.nodes
        client = await world.add_peer(answering(), serves=False)
        for message in (
            add_provider(CID, PeerInfo(client.peer)),
            add_provider(b"", client.info),
            add_provider(bytes(81), client.info),
            add_provider(CID),
        ):
            await client.notify(node.peer, message)
            await trio.sleep(ROUND_TRIP_S)
        assert await find(node) == []
        with pytest.raises(ProtocolViolation):
            await client.request(node.peer, get_providers(bytes(81)))


async def test_thirty_providers_on_one_key(autojump_clock):
    """Extra: more providers than rust and py keep per key are all found."""
    async with SimWorld(64, 31, links=LINKS, config=small()) as world:
        await world.settle()
        async with trio.open_nursery() as nursery:
            for node in world.nodes[:30]:
                nursery.start_soon(node.dht.provide, CID)
        found = await find(world.nodes[30], limit=0)
        assert {info.id for info in found} == {node.peer for node in world.nodes[:30]}
        assert len(found) == 30, "each once"


async def test_a_provider_survives_being_offline_and_a_restart(autojump_clock):
    """Behaviour 49: what is provided is announced again by itself, a restart in between."""
    async with SimWorld(49, 2, links=LINKS) as world:
        await world.settle()
        asker, provider = world.nodes
        await provider.dht.provide(CID)
        await trio.sleep(3600)
        await provider.restart()
        await trio.sleep(limits.PROVIDER_RECORD_TTL_S)
        assert [info.id for info in asker.dht.providers.store.providers(CID)] == [provider.peer]
        assert await provider.dht.stop_providing(CID)
        assert provider.dht.providers.store.own_provides() == []


async def test_filtered_addresses_are_not_stored(autojump_clock):
    """Behaviour 15: on a public network a provider's private addresses are dropped."""
    config = small(network_kind="public", mode="server")
    async with SimWorld(
        15, 1, links=LINKS, config=config, ip_of=public_ip, accepts=multiaddrs.is_public
    ) as world:
        (node,) = world.nodes
        public, private = host_addr("9.9.9.9"), host_addr("10.0.0.5")
        client = await world.add_peer(answering(), serves=False)
        await client.notify(node.peer, add_provider(CID, PeerInfo(client.peer, (private, public))))
        reply = await client.request(node.peer, get_providers(CID))
        addrs = [addr for info in reply.provider_peers for addr in info.addrs]
        assert public in addrs
        assert private not in addrs


async def test_the_addresses_of_a_provider_are_bounded(autojump_clock):
    """Behaviour 16: 8 KiB and 32 addresses of one provider at most are taken in."""
    async with SimWorld(16, 1, links=LINKS) as world:
        (node,) = world.nodes
        client = await world.add_peer(answering(), serves=False)
        flood = tuple(host_addr(f"10.8.{number >> 8}.{number & 255}") for number in range(2000))
        await client.notify(node.peer, add_provider(CID, PeerInfo(client.peer, flood)))
        (info,) = (await client.request(node.peer, get_providers(CID))).provider_peers
        assert 0 < len(info.addrs) <= limits.PEER_ADDRS_MAX
        assert sum(map(len, info.addrs)) <= limits.PEER_ADDRS_BYTES_MAX


async def test_where_peers_depart_a_provider_announces_again_in_time(autojump_clock):
    """Beside behaviour 52: the record outlives all that were told first, long before 22 hours."""
    async with SimWorld(57, 30, links=LINKS, config=small(k_bucket_size=10)) as world:
        await world.settle()
        provider, reader = world.nodes[0], world.nodes[1]
        await provider.dht.provide(CID)
        for number in range(120):
            node = world.nodes[2 + 11 * number % 28]  # each is up for 28 minutes
            await node.crash()
            await trio.sleep(60)
            await node.restart(keep_store=False)
            if number >= 60 and not number % 6:
                assert [info.id for info in await find(reader)] == [provider.peer], number


async def test_where_peers_stay_a_provider_announces_once_in_22_hours(autojump_clock):
    async with SimWorld(58, 5, links=LINKS) as world:
        await world.settle()
        provider = world.nodes[0]
        await provider.dht.provide(CID)
        sent = provider.host.traffic.sent[MessageType.ADD_PROVIDER]
        await trio.sleep(10 * 3600)
        assert provider.host.traffic.sent[MessageType.ADD_PROVIDER] == sent
