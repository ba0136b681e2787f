"""What a node takes in from others, gives out again, and stops giving out. The numbers are those of the
other implementations' tests that define a behaviour."""

import pytest
import trio
from engine_lab import LINKS, add_provider, find_node, get_providers, get_value, multihash, put_value, small
from inbound_lab import KEY, announce, lone_node, open_record, put, refusal

from primedht import limits, open_node
from primedht.config import Config, NodeConfig
from primedht.errors import ProtocolViolation
from primedht.host import HostConfig, generate_private_key, open_host
from primedht.host.addresses import AddressFilter
from primedht.kad.messages import MessageType, PeerInfo
from primedht.sim.addresses import host_addr, public_ip
from primedht.sim.peer import answering
from primedht.sim.world import SimWorld
from primedht.wire.addrs import parse

CID = multihash(b"content")


async def found_by(node, key=CID, **options):
    return [info async for info in node.dht.find_providers(key, **options)]


async def provided_by(client, node, key=CID):
    return list((await client.request(node.peer, get_providers(key))).provider_peers)


# --- providers ----------------------------------------------------------------------------------------------


async def test_what_is_provided_locally_stays_local(autojump_clock, monkeypatch):
    """Behaviour 9: neither the reprovide nor a restart announces it; a change of mind does."""
    monkeypatch.setattr(limits, "REPROVIDE_INTERVAL_S", 600)
    async with SimWorld(9, 2, links=LINKS) as world:
        await world.settle()
        node = world.nodes[1]
        await node.dht.provide(CID, announce=False)
        await trio.sleep(700)
        await node.restart()
        await trio.sleep(1300)
        assert world.network.traffic.sent[MessageType.ADD_PROVIDER] == 0
        assert [own.local_only for own in node.dht.providers.store.own_provides()] == [True]
        await node.dht.provide(CID)
        assert world.network.traffic.sent[MessageType.ADD_PROVIDER] == 1


async def test_a_provider_outlives_its_addresses_and_is_then_looked_up(autojump_clock):
    """Behaviour 11: addresses for a day, the id for two; whoever searches finds the address by the id."""
    async with lone_node() as (world, node, client, other):
        await announce(client, node, add_provider(CID, client.info))
        for passed_s, known in (
            (0, [client.info]),
            (limits.PROVIDER_ADDRS_TTL_S, [PeerInfo(client.peer)]),
            (limits.PROVIDER_RECORD_TTL_S, []),
        ):
            node.clock.skew_s = passed_s + 1
            assert await provided_by(other, node) == known
        node.clock.skew_s = limits.PROVIDER_ADDRS_TTL_S + 1
        await world.meet(client, [node])
        assert await found_by(node) == [client.info]


async def test_a_confined_network_keeps_public_addresses_out(autojump_clock):
    """Behaviour 15: whatever the network's filter refuses is not stored with the provider either."""
    permits = AddressFilter("private", prefix_is_ipfs=True).permits
    async with SimWorld(15, 1, links=LINKS, config=small(), accepts=permits) as world:
        (node,) = world.nodes
        client = await world.add_peer(answering(), serves=False)
        usable = host_addr("10.0.0.5")
        useless = [host_addr(ip) for ip in ("8.8.8.8", "2606:4700::1111", "0.0.0.0", "224.0.0.1")]
        name = parse("/dns4/peer.example/tcp/4001")
        await announce(client, node, add_provider(CID, PeerInfo(client.peer, (*useless, usable, name))))
        assert await provided_by(client, node) == [PeerInfo(client.peer, (usable,))]
        await announce(client, node, add_provider(CID, PeerInfo(client.peer, (*useless,))))
        (info,) = await provided_by(client, node)
        assert info.addrs == (usable,), "nothing usable is no news"


async def test_filtered_addresses_are_not_stored_by_a_real_node():
    """Behaviour 15: on the address book of the real host, of a network that is private by its prefix."""
    loopback, public = parse("/ip4/127.0.0.1/tcp/9"), parse("/ip4/8.8.8.8/tcp/9")
    async with (
        open_node(Config(node=NodeConfig(listen=("/ip4/127.0.0.1/tcp/0",)))) as node,
        open_host(generate_private_key(), HostConfig(listen=(), kad_protocol="/ipfs/kad/1.0.0")) as host,
    ):
        await host.connect_addr(node.addrs[0])
        own_suffix = parse(f"/p2p/{host.peer_id}")
        own = PeerInfo(host.peer_id, (public, loopback + own_suffix))
        await host.rpc.notify(node.peer_id, add_provider(CID, own), timeout_s=10)
        infos = ()
        with trio.fail_after(10):
            while not infos:  # nothing tells the sender when its announcement has been read
                reply = await host.rpc.request(node.peer_id, get_providers(CID), timeout_s=10)
                infos = reply.provider_peers
        assert infos == (PeerInfo(host.peer_id, (loopback,)),)
        assert public not in node.dht.peers.info(host.peer_id).addrs


async def test_long_addresses_of_a_provider_are_cut_at_8_kib(autojump_clock):
    """Behaviour 16: by their bytes, and one that is absurd costs only itself."""
    async with lone_node() as (_, node, client, other):
        tail = b"\xdd\x03\xf4\x03" + b"/" + bytes(499)  # /unix/ and 500 bytes
        long = tuple(host_addr(f"10.8.0.{number}") + tail[: 480 + 4] for number in range(40))
        absurd = host_addr("10.8.1.1") + tail * 3
        await announce(client, node, add_provider(CID, PeerInfo(client.peer, (absurd, *long))))
        ((_, addrs),) = [(info.id, info.addrs) for info in await provided_by(other, node)]
        assert absurd not in addrs
        assert addrs == long[: len(addrs)]
        assert 7 << 10 < sum(map(len, addrs)) <= limits.PEER_ADDRS_BYTES_MAX


async def test_providing_on_an_unstable_network_is_announced_when_there_is_one(autojump_clock):
    """Behaviour 49: started offline, announced once somebody is there, again after each restart."""
    async with SimWorld(49, 0, links=LINKS) as world:
        asker = await world.add_node(start=False)
        provider = await world.add_node(bootstrap=[asker.addr])
        result = await provider.dht.provide(CID)
        assert result.told == ()
        await trio.sleep(1000)
        await provider.restart()
        await asker.start()
        await world.until(
            lambda: asker.dht.providers.store.providers(CID) != [], limit_s=2 * 3600, what="announced"
        )
        assert await found_by(asker) == [provider.info]


async def test_a_search_counts_each_provider_once(autojump_clock):
    """Behaviour 55: ten peers that name the same two providers do not make a limit of three."""
    async with SimWorld(55, 1, links=LINKS) as world:
        (node,) = world.nodes
        same = [PeerInfo(world.keypair(500 + at).peer, (host_addr(f"10.1.1.{at + 1}"),)) for at in range(2)]
        for _ in range(10):
            await world.meet(await world.add_peer(answering(providers=same)), [node])
        await world.until(lambda: len(node.dht.routing_table) == 10)
        found = await found_by(node, limit=3)
        assert sorted(info.id for info in found) == sorted(info.id for info in same)
        assert len(await found_by(node, limit=1)) == 1


# --- values -------------------------------------------------------------------------------------------------


async def test_the_time_of_receipt_is_ours_and_a_record_of_unknown_age_is_judged_by_it(autojump_clock):
    """Behaviour 26: a record stamped by its sender as long expired, or not yet received, is a new one."""
    async with lone_node() as (_, node, client, other):
        for number, stamp in enumerate(("1999-01-01T00:00:00Z", "2099-01-01T00:00:00Z", "yesterday", "")):
            record = open_record(b"v", key=b"key %d" % number, time_received=stamp)
            assert await put(client, node, record) == "stored"
            reply = await other.request(node.peer, get_value(record.key))
            assert reply.record.time_received.startswith("2025-06-")


async def test_concurrent_puts_and_reads_never_see_a_worse_record(autojump_clock):
    """Behaviour 24: readers between twenty racing puts see ever better values."""
    async with lone_node() as (world, node, reader, _):
        writers = [await world.add_peer(answering(), serves=False) for _ in range(20)]
        seen = []

        async def write(age_s, writer):
            await refusal(writer, node, put_value(KEY, b"%02d" % (99 - age_s), written_s_ago=age_s))

        async def read():
            for _ in range(20):
                record = (await reader.request(node.peer, get_value(KEY))).record
                seen.append(b"" if record is None else record.value)

        async with trio.open_nursery() as nursery:
            for age_s, writer in enumerate(writers):
                nursery.start_soon(write, age_s, writer)
            nursery.start_soon(read)
        assert seen == sorted(seen)
        assert seen[-1] == b"99"


# --- modes and protocols ------------------------------------------------------------------------------------


async def test_a_node_serves_while_it_is_reachable_and_not_in_between(autojump_clock):
    """Behaviour 31: requests are reset in client mode, and what it held is served again afterwards."""
    config = small(network_kind="public")
    async with SimWorld(31, 1, links=LINKS, config=config, ip_of=public_ip) as world:
        (node,) = world.nodes
        client = await world.add_peer(answering(), serves=False)
        own_key = b"/pk/" + bytes(client.peer)
        await client.request(node.peer, put_value(own_key, client.keys.public_key))
        public = node.addrs
        for addrs, serves in (((host_addr("192.168.1.5"),), False), (public, True)):
            node.host.set_addrs((*public, *addrs) if serves else addrs)
            await world.until(lambda serves=serves: node.serving == serves)
            if serves:
                reply = await client.request(node.peer, get_value(own_key))
                assert reply.record.value == client.keys.public_key
            else:
                assert await refusal(client, node, get_value(own_key)) == ProtocolViolation.code
        assert "public" in node.dht.mode.reason


async def test_a_peer_that_withdraws_is_named_to_nobody(autojump_clock):
    """Behaviour 32: identify-push takes it out of the replies, and as a target it can still be found."""
    async with lone_node() as (world, node, client, _):
        peer = await world.add_peer(answering())
        await world.meet(peer, [node])
        await world.until(lambda: peer.peer in node.dht.routing_table)
        assert [info.id for info in (await client.request(node.peer, find_node(b"x"))).closer_peers] == [
            peer.peer
        ]
        await peer.start(serves=False)
        await world.until(lambda: peer.peer not in node.dht.routing_table)
        assert (await client.request(node.peer, find_node(b"x"))).closer_peers == ()
        (info,) = (await client.request(node.peer, find_node(bytes(peer.peer)))).closer_peers
        assert info == peer.info
        await trio.sleep(600)
        assert peer.peer not in node.dht.routing_table, "and no task of ours brings it back"


async def test_requests_of_another_protocol_id_are_refused(autojump_clock):
    """Behaviour 33: a peer of another network gets a reset, is in no table, and stores nothing here."""
    async with SimWorld(33, 2, links=LINKS, config=small(network_id="/ours/kad/1.0.0")) as world:
        await world.settle()
        stranger = await world.add_peer(answering(), protocol="/theirs/kad/1.0.0")
        await world.meet(stranger, world.nodes)
        for node in world.nodes:
            with pytest.raises(ProtocolViolation):
                await stranger.request(node.peer, put_value(KEY, b"theirs"))
            assert len(node.dht.storage) == 0
        await trio.sleep(60)
        assert stranger.received == []
        assert all(len(node.dht.routing_table) == 1 for node in world.nodes)
