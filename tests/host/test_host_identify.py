"""Identify and identify-push: bounded, filtered, believed only about the peer itself."""

from __future__ import annotations

import pytest
import trio
from host_helpers import KAD, Recorder, addr_text, connect, echo, endpoint, eventually, running_host
from libp2p.identity.identify.pb.identify_pb2 import Identify as IdentifyMessage

from primedht import limits
from primedht.errors import PeerUnreachable, ProtocolViolation
from primedht.host import generate_private_key
from primedht.host.autonat import AUTONAT
from primedht.host.identify import IDENTIFY, IDENTIFY_PUSH
from primedht.host.keys import load_key_pair
from primedht.host.streams import Stream
from primedht.wire.addrs import parse, peer_suffix
from primedht.wire.frames import FrameReader, encode_frame

GOOD = parse("/ip4/10.1.2.3/tcp/4001")


def encoded(**fields) -> bytes:
    return encode_frame(IdentifyMessage(**fields).SerializeToString())


async def push(sender, receiver, data: bytes) -> None:
    stream = await sender.streams.open(receiver.peer_id, (IDENTIFY_PUSH,), timeout_s=10)
    await stream.send(data)
    await stream.finish()


async def own_message(asker, host) -> IdentifyMessage:
    stream = await asker.streams.open(host.peer_id, (IDENTIFY,), timeout_s=10)
    with trio.fail_after(10):
        data = await stream.receive_frame(FrameReader(1 << 16))
    return IdentifyMessage.FromString(data)


async def test_our_message_says_who_we_are():
    async with running_host() as a, running_host() as b:
        await connect(a, b)
        message = await own_message(a, b)
        assert message.agent_version.startswith("primedht/")
        assert message.protocol_version == "ipfs/0.1.0"
        assert set(message.protocols) == {IDENTIFY, IDENTIFY_PUSH, AUTONAT, "/ipfs/ping/1.0.0"}
        assert list(message.listen_addrs) == list(b.address_book.own_addrs())
        port = b.swarm.connection_to(a.peer_id).socket.remote[1]
        assert message.observed_addr == parse(f"/ip4/127.0.0.1/tcp/{port}")
        await b.connections.serve_kad(echo)
        assert KAD in (await own_message(a, b)).protocols


async def test_unspecified_addresses_are_never_announced():
    async with running_host(listen=("/ip4/0.0.0.0/tcp/0",)) as a, running_host() as b:
        assert a.listen_addrs
        assert not any("0.0.0.0" in text or "/::/" in text for text in a.listen_addrs)
        assert any(text.startswith("/ip4/127.0.0.1/") for text in a.listen_addrs)
        assert await b.connect_addr(a.listen_addrs[-1]) == a.peer_id
        assert set(b.address_book.addrs(a.peer_id)) == set(a.address_book.own_addrs())


async def test_announced_addresses_replace_those_found():
    async with running_host(announce=("/dns4/node.example/tcp/4101",)) as a, running_host() as b:
        assert a.listen_addrs == ("/dns4/node.example/tcp/4101",)
        ip, port = endpoint(a)
        await b.connect_addr(f"/ip4/{ip}/tcp/{port}")
        assert parse("/dns4/node.example/tcp/4101") in b.address_book.addrs(a.peer_id)


async def test_a_push_replaces_what_was_known_and_may_withdraw_kad():
    async with running_host() as a, running_host() as b:
        await connect(a, b)
        recorder = Recorder()
        b.connections.subscribe(recorder)
        await push(a, b, encoded(protocols=[KAD, "/x/1"], listen_addrs=[GOOD]))
        await eventually(lambda: b.connections.serves_kad(a.peer_id))
        assert recorder.identified[-1] == (a.peer_id, frozenset({KAD, "/x/1"}))
        assert GOOD in b.address_book.addrs(a.peer_id)
        await push(a, b, encoded(protocols=["/x/1"]))
        await eventually(lambda: b.connections.serves_kad(a.peer_id) is False)
        assert recorder.identified[-1] == (a.peer_id, frozenset({"/x/1"}))


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xff\xff\x7f",
        encode_frame(b"\xff\xff"),
        encode_frame(b"\x1a\x02\xff\xfe"),
        encoded(public_key=load_key_pair(generate_private_key()).public_key.serialize(), protocols=[KAD]),
        b"",
        encoded(agent_version="x" * limits.IDENTIFY_BYTES_MAX, protocols=[KAD]),
        encoded(agent_version="x" * 5000, protocols=[KAD]) * 8,
    ],
    ids=["oversized", "no protobuf", "no UTF-8", "another key", "empty", "too long", "too long in all"],
)
async def test_bad_messages_change_nothing(data):
    async with running_host() as a, running_host() as b:
        await connect(a, b)
        await eventually(lambda: b.connections.serves_kad(a.peer_id) is False)
        await push(a, b, data)
        assert await a.connections.ping(b.peer_id, timeout_s=10) > 0
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert b.connections.serves_kad(a.peer_id) is False


async def test_what_a_peer_says_is_bounded():
    many_addrs = [parse(f"/ip4/10.0.0.{n}/tcp/4001") for n in range(200)]
    async with running_host() as a, running_host() as b:
        await connect(a, b)
        await push(
            a,
            b,
            encoded(
                protocols=[KAD, "y" * 2000, *(f"/x/{n}" for n in range(1000))],
                listen_addrs=[b"\x00" * 600, *many_addrs],
                agent_version="z" * 1000,
            ),
        )
        await eventually(lambda: b.connections.serves_kad(a.peer_id))
        facts = b.connections.facts(a.peer_id)
        assert len(facts.protocols) <= limits.IDENTIFY_PROTOCOLS_MAX
        assert max(map(len, facts.protocols)) <= limits.IDENTIFY_PROTOCOL_CHARS_MAX
        assert len(facts.agent_version) == limits.AGENT_VERSION_CHARS_MAX
        assert len(b.address_book.addrs(a.peer_id)) <= limits.IDENTIFY_ADDRS_MAX


async def test_addresses_of_other_peers_are_not_believed():
    async with running_host() as a, running_host() as b:
        await connect(a, b)
        foreign = GOOD + peer_suffix(b.peer_id)
        own = parse("/ip4/10.9.9.9/tcp/1") + peer_suffix(a.peer_id)
        await push(a, b, encoded(protocols=[KAD], listen_addrs=[foreign, own]))
        await eventually(lambda: b.connections.serves_kad(a.peer_id))
        assert GOOD not in b.address_book.addrs(a.peer_id)
        assert parse("/ip4/10.9.9.9/tcp/1") in b.address_book.addrs(a.peer_id)


async def test_private_addresses_are_refused_on_public_networks():
    async with running_host(network_kind="public") as b, running_host() as a:
        await connect(a, b)
        public = parse("/ip4/8.8.8.8/tcp/4001")
        await push(a, b, encoded(protocols=[KAD], listen_addrs=[GOOD, public]))
        await eventually(lambda: b.connections.serves_kad(a.peer_id))
        assert b.address_book.addrs(a.peer_id) == (public,)
        assert b.stats()["refused_addrs"]["private_address"] >= 1


async def test_a_message_in_several_parts_is_one():
    """go splits long messages."""
    async with running_host() as a, running_host() as b:
        await connect(a, b)
        await push(a, b, encoded(protocols=["/x/1"]) + encoded(protocols=[KAD], listen_addrs=[GOOD]))
        await eventually(lambda: b.connections.serves_kad(a.peer_id))
        assert b.connections.facts(a.peer_id).protocols == {"/x/1", KAD}


@pytest.mark.parametrize("behaviour", ["silent", "refuses", "resets", "never ends"])
async def test_a_peer_that_does_not_identify_itself(monkeypatch, behaviour):
    """`connect` says so; a peer that says all and does not end the stream is believed."""
    monkeypatch.setattr(limits, "IDENTIFY_TIMEOUT_S", 0.3)

    async def serve(stream):
        if behaviour == "never ends":
            await stream.send(encoded(protocols=[KAD]))
        if behaviour == "resets":
            raise ProtocolViolation("no")
        await trio.sleep_forever()

    async with running_host() as a, running_host() as b:
        b.streams.serve(IDENTIFY, None if behaviour == "refuses" else serve)
        if behaviour == "never ends":
            monkeypatch.setattr("primedht.host.identify._MORE_S", 0.05)
            await connect(a, b)
            assert a.connections.serves_kad(b.peer_id)
        else:
            with pytest.raises(ProtocolViolation, match="identify"):
                await a.connect_addr(addr_text(b))
            assert a.connections.serves_kad(b.peer_id) is None


async def test_a_flood_of_identify_streams_costs_the_peer_only(monkeypatch):
    async with running_host() as a, running_host() as b:
        await connect(a, b)
        connection = a.swarm.connection_to(b.peer_id)

        async def hold() -> Stream:
            stream = await connection.new_stream()
            await stream.negotiate((IDENTIFY_PUSH,))
            return stream

        held = [await hold() for _ in range(limits.IDENTIFY_STREAMS_IN_MAX)]
        for _ in range(4):
            with trio.fail_after(10), pytest.raises(PeerUnreachable):  # before or behind the agreement
                await (await hold()).receive()
        assert not any(stream.peer_has_finished for stream in held)
        async with running_host() as c:
            await connect(c, b)


async def test_pushes_reach_many_peers():
    async with running_host() as hub, trio.open_nursery() as nursery:
        hosts = []

        async def spoke(task_status):
            async with running_host(listen=()) as host:
                await connect(host, hub)
                hosts.append(host)
                task_status.started()
                await trio.sleep_forever()

        for _ in range(12):
            await nursery.start(spoke)
        await hub.connections.serve_kad(echo)
        await eventually(lambda: all(host.connections.serves_kad(hub.peer_id) for host in hosts))
        nursery.cancel_scope.cancel()


async def test_a_change_of_own_addresses_is_told_to_listeners_and_peers(monkeypatch):
    monkeypatch.setattr(limits, "INTERFACES_POLL_S", 0.05)
    ips = ["127.0.0.1"]
    monkeypatch.setattr("primedht.host.host.interface_ips", lambda: tuple(ips))
    async with running_host(listen=("/ip4/0.0.0.0/tcp/0",)) as a, running_host() as b:
        recorder = Recorder()
        a.connections.subscribe(recorder)
        await connect(b, a)
        ips.append("10.7.7.7")
        await eventually(lambda: recorder.own_addrs_changes == 1)
        port = endpoint(a)[1]
        await eventually(lambda: parse(f"/ip4/10.7.7.7/tcp/{port}") in b.address_book.addrs(a.peer_id))
