"""Every call of PyPI's p2pclient against two daemons that know each other; PUBSUB's are refused.

    p2pclient_calls.py CONTROL_A CONTROL_B LISTEN_A LISTEN_B PEER_ADDR ECHO

PEER_ADDR is a third peer, which serves ECHO. When all calls have passed, B's handler of ECHO serves
whoever comes, `ready` is printed, and the end of standard input ends the program.
"""

import sys
from collections.abc import Awaitable, Callable

import anyio
from anyio.abc import SocketStream
from anyio.to_thread import run_sync
from multiaddr import Multiaddr
from p2pclient import Client
from p2pclient.datastructures import StreamInfo
from p2pclient.exceptions import ControlFailure
from p2pclient.libp2p_stubs.peer.id import ID

PATIENCE_S = 30
UPPER = "upper"  # p2pd's clients use protocols without slashes too
CID_V0 = b"\x12\x20" + bytes(range(32))
CID_V1 = b"\x01\x55" + CID_V0


async def main(control_a: str, control_b: str, listen_a: str, listen_b: str, peer: str, echo: str) -> None:
    a = Client(Multiaddr(control_a), Multiaddr(listen_a))
    b = Client(Multiaddr(control_b), Multiaddr(listen_b))
    async with a.listen(), b.listen():
        with anyio.fail_after(6 * PATIENCE_S):
            await connections(a, b)
            await values(a, b)
            await peers_and_providers(a, b)
            await streams(a, b)
            await a_third_peer(a, peer, echo)
            await refused(a)
            await b.stream_handler(echo, echoes)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await run_sync(sys.stdin.read)


async def connections(a: Client, b: Client) -> None:
    id_b, addrs_b = await b.identify()
    assert addrs_b
    assert all("/p2p/" not in str(addr) for addr in addrs_b)
    await a.disconnect(id_b)  # members of one routing table may find each other again at once
    await a.connect(id_b, addrs_b)
    assert id_b in [info.peer_id for info in await a.list_peers()]
    await a.connmgr_tag_peer(id_b, "t", 5)
    await a.connmgr_trim()
    await a.connmgr_untag_peer(id_b, "t")
    await a.connmgr_tag_peer(ID(CID_V0), "t", 5)  # go takes tags of peers that are not connected too
    await a.connmgr_untag_peer(ID(CID_V0), "t")
    await fails(a.connect(ID(CID_V0), [Multiaddr("/ip4/127.0.0.1/tcp/1")]))
    assert id_b in [info.peer_id for info in await a.list_peers()], "TRIM has nothing to close"


async def values(a: Client, b: Client) -> None:
    await eventually(lambda: succeeds(a.dht_put_value(b"key", b"\x00value")))
    assert await b.dht_get_value(b"key") == b"\x00value"
    assert (await b.dht_search_value(b"key"))[-1] == b"\x00value"
    assert "routing: not found" in await fails(a.dht_get_value(b"nobody has this"))
    assert await a.dht_search_value(b"nobody has this") == ()
    id_b, _ = await b.identify()
    public_key = await a.dht_get_public_key(id_b)
    serialized = public_key.SerializeToString()
    assert id_b.to_bytes().endswith(serialized)
    await a.dht_put_value(b"/pk/" + id_b.to_bytes(), serialized)
    assert await b.dht_get_value(b"/pk/" + id_b.to_bytes()) == serialized
    await fails(a.dht_put_value(b"/pk/" + CID_V0, serialized))


async def peers_and_providers(a: Client, b: Client) -> None:
    (id_a, _), (id_b, addrs_b) = await a.identify(), await b.identify()
    found = await a.dht_find_peer(id_b)
    assert found.peer_id == id_b
    assert {str(addr) for addr in found.addrs} <= {str(addr) for addr in addrs_b}
    await fails(a.dht_find_peer(ID(CID_V0)))
    assert id_b in await a.dht_get_closest_peers(id_b.to_bytes())
    assert isinstance(await a.dht_find_peers_connected_to_peer(id_b), tuple)
    for cid in (CID_V0, CID_V1):
        await a.dht_provide(cid)
        assert [info.peer_id for info in await b.dht_find_providers(cid, 3)] == [id_a]
    await fails(a.dht_provide(b"no cid"))


async def streams(a: Client, b: Client) -> None:
    (id_a, _), (id_b, _) = await a.identify(), await b.identify()

    async def never(info: StreamInfo, stream: SocketStream) -> None:
        raise AssertionError("the later registration takes its place")

    async def upper(info: StreamInfo, stream: SocketStream) -> None:
        assert (info.peer_id, info.proto) == (id_a, UPPER)
        heard = await rest_of(stream)
        await stream.send(heard.upper())
        await stream.send_eof()
        await stream.aclose()

    await b.stream_handler(UPPER, never)
    await b.stream_handler(UPPER, upper)
    info, stream = await a.stream_open(id_b, ["/nobody/serves/this", UPPER])
    assert (info.peer_id, info.proto) == (id_b, UPPER)
    async with stream:
        await stream.send(b"question")
        await stream.send_eof()
        assert await rest_of(stream) == b"QUESTION"
    await fails(a.stream_open(id_b, ["/nobody/serves/this"]))
    await fails(a.stream_open(id_b, []))
    await fails(a.stream_open(ID(CID_V0), [UPPER]))
    await fails(b.stream_handler("/ipfs/ping/1.0.0", upper))


async def a_third_peer(a: Client, addr: str, echo: str) -> None:
    where, _, id = addr.partition("/p2p/")
    await a.connect(ID.from_base58(id), [Multiaddr(where)])
    _, stream = await a.stream_open(ID.from_base58(id), [echo])
    payload = bytes(range(256)) * 1000
    heard = bytearray()
    async with stream, anyio.create_task_group() as both:
        both.start_soon(say, stream, payload)
        heard += await rest_of(stream)
    assert heard == payload


async def refused(a: Client) -> None:
    await fails(a.pubsub_get_topics())
    await fails(a.pubsub_list_peers("topic"))
    await fails(a.pubsub_publish("topic", b"data"))
    await fails(a.pubsub_subscribe("topic"))


# --- parts of them ---------------------------------------------------------------------------------


async def echoes(info: StreamInfo, stream: SocketStream) -> None:
    async with stream:
        async for data in stream:
            await stream.send(data)


async def say(stream: SocketStream, payload: bytes) -> None:
    await stream.send(payload)
    await stream.send_eof()


async def rest_of(stream: SocketStream) -> bytes:
    return b"".join([data async for data in stream])


async def fails(call: Awaitable[object]) -> str:
    try:
        await call
    except ControlFailure as error:
        return str(error)
    raise AssertionError("it did not fail")


async def succeeds(call: Awaitable[object]) -> bool:
    try:
        await call
    except ControlFailure:
        return False
    return True


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    with anyio.fail_after(PATIENCE_S):
        while not await condition():  # noqa: ASYNC110
            await anyio.sleep(0.05)


anyio.run(main, *sys.argv[1:])
