"""AutoNAT v1, both sides: who is dialled back, at which addresses, and how often."""

from __future__ import annotations

import trio
from host_helpers import connect, eventually, running_host

from primedht import limits
from primedht.host import Host
from primedht.host.autonat import AUTONAT
from primedht.host.streams import StreamReset
from primedht.pb.autonat_pb2 import Message
from primedht.wire.addrs import parse
from primedht.wire.frames import FrameReader, encode_frame


async def raw(asker: Host, host: Host, data: bytes) -> Message.DialResponse | None:
    """Send bytes as a request; return the answer, or None for a reset or an end without one."""
    stream = await asker.streams.open(host.peer_id, (AUTONAT,), timeout_s=10)
    with trio.fail_after(30):
        try:
            await stream.send(data)
            frame = await stream.receive_frame(FrameReader(1 << 16))
        except StreamReset:
            return None
    return None if frame is None else Message.FromString(frame).dialResponse


async def request(asker: Host, host: Host, *addrs: bytes, peer: bytes | None = None) -> Message.DialResponse:
    me = Message.PeerInfo(id=bytes(asker.peer_id) if peer is None else peer, addrs=addrs)
    message = Message(type=Message.DIAL, dial=Message.Dial(peer=me))
    response = await raw(asker, host, encode_frame(message.SerializeToString()))
    assert response is not None
    return response


async def test_a_peer_that_can_be_dialled_learns_where() -> None:
    async with running_host() as a, running_host() as b:
        await connect(a, b)
        (answer,) = await a.ask_dial_backs(peers_max=3, timeout_s=10)
        assert (answer.reached, answer.text) == (True, a.listen_addrs[0])
        assert len(b.swarm.by_peer[a.peer_id]) == len(a.swarm.by_peer[b.peer_id]) == 1
        await eventually(lambda: set(a.swarm.by_peer) == {b.peer_id})  # who dialled back was a stranger
        assert await b.connections.ping(a.peer_id, timeout_s=10) > 0


async def test_a_peer_that_listens_no_more_learns_that() -> None:
    async with running_host() as a, running_host() as b:
        await connect(a, b)
        a.swarm.stop_accepting()
        (answer,) = await a.ask_dial_backs(peers_max=3, timeout_s=20)
        assert answer.reached is False
        assert answer.text.startswith("no address answers")


async def test_somebody_else_at_the_address_is_not_the_peer() -> None:
    """A port of that IP may be anybody's."""
    async with running_host() as a, running_host() as b, running_host() as other:
        await connect(a, b)
        response = await request(a, b, *other.address_book.own_addrs())
        assert response.status == Message.E_DIAL_ERROR


async def test_only_the_address_that_a_peer_comes_from_is_dialled() -> None:
    async with running_host() as a, running_host() as b:
        await connect(a, b)
        elsewhere = [
            parse("/ip4/192.0.2.1/tcp/4101"),
            parse("/ip4/127.0.0.2/tcp/4101"),
            parse("/dns4/localhost/tcp/4101"),
            parse("/ip4/127.0.0.1/udp/4101/quic-v1"),
            b"\xff\xff junk",
        ]
        assert (await request(a, b, *elsewhere)).status == Message.E_DIAL_REFUSED
        assert (await request(a, b)).status == Message.E_DIAL_REFUSED
        own = a.address_book.own_addrs()
        assert (await request(a, b, *elsewhere, *own)).status == Message.OK
        assert b.swarm.dialer.counts["failed"] == 0


async def test_nobody_is_dialled_often() -> None:
    async with running_host() as a, running_host() as b:
        await connect(a, b)
        own = a.address_book.own_addrs()
        statuses = [(await request(a, b, *own)).status for _ in range(limits.AUTONAT_DIALS_PER_PEER_MAX + 1)]
        assert statuses == [Message.OK] * limits.AUTONAT_DIALS_PER_PEER_MAX + [Message.E_DIAL_REFUSED]
        (answer,) = await a.ask_dial_backs(peers_max=3, timeout_s=10)
        assert (answer.reached, answer.text) == (None, "dialled too often; ask later")


async def test_all_together_are_not_dialled_often_either() -> None:
    async with running_host() as a, running_host() as b:
        await connect(a, b)
        now = trio.current_time()
        b.autonat._recent.extend([(now, b.peer_id)] * limits.AUTONAT_DIALS_MAX)
        assert (await request(a, b, *a.address_book.own_addrs())).status == Message.E_DIAL_REFUSED
        b.autonat._recent.clear()
        b.autonat._recent.append((now - limits.AUTONAT_PERIOD_S - 1, a.peer_id))
        assert (await request(a, b, *a.address_book.own_addrs())).status == Message.OK
        assert len(b.autonat._recent) == 1, "what is long ago is forgotten"


async def test_nobody_has_another_dialled() -> None:
    async with running_host() as a, running_host() as b, running_host() as victim:
        await connect(a, b)
        response = await request(a, b, *victim.address_book.own_addrs(), peer=bytes(victim.peer_id))
        assert response.status == Message.E_BAD_REQUEST


async def test_what_is_no_request_costs_its_sender_a_stream() -> None:
    async with running_host() as a, running_host() as b:
        await connect(a, b)
        assert await raw(a, b, encode_frame(b"\xff\xff\xff")) is None
        assert await raw(a, b, encode_frame(b"\0" * (limits.AUTONAT_BYTES_MAX + 1))) is None
        wrong_type = Message(type=Message.DIAL_RESPONSE).SerializeToString()
        response = await raw(a, b, encode_frame(wrong_type))
        assert response is not None
        assert response.status == Message.E_BAD_REQUEST
        assert await a.connections.ping(b.peer_id, timeout_s=10) > 0


async def test_a_peer_that_lies_or_does_not_answer_is_believed_nothing() -> None:
    """It may say what it likes: only that we were reached, or not, comes of it."""

    async def answer_junk(stream) -> None:
        await stream.receive_frame(FrameReader(1 << 16))
        reply = Message.DialResponse(status=Message.OK, addr=b"\xff junk", statusText="x" * 3000)
        message = Message(type=Message.DIAL_RESPONSE, dialResponse=reply)
        await stream.send(encode_frame(message.SerializeToString()))
        await stream.close()

    async def say_nothing(stream) -> None:
        await trio.sleep_forever()

    async with running_host() as a, running_host() as b:
        await connect(a, b)
        b.streams.serve(AUTONAT, answer_junk)
        (answer,) = await a.ask_dial_backs(peers_max=3, timeout_s=10)
        assert (answer.reached, answer.text) == (True, "")
        b.streams.serve(AUTONAT, say_nothing)
        (answer,) = await a.ask_dial_backs(peers_max=3, timeout_s=0.2)
        assert answer.reached is None
        assert "did not say" in answer.text
