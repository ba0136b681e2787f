"""The control socket answers go-libp2p-daemon's requests as that daemon does."""

import pytest
from control_lab import ControlLab
from fake_node import ADDR, peer

from primedht.pb import p2pd_pb2 as pb

CID_V0 = b"\x12\x20" + b"\xaa" * 32
CID_V1 = b"\x01\x55" + CID_V0


def dht(**fields: object) -> pb.Request:
    return pb.Request(type=pb.Request.DHT, dht=pb.DHTRequest(**fields))


async def test_identify(lab: ControlLab) -> None:
    async with lab.client() as client:
        response = await client.ask(pb.Request(type=pb.Request.IDENTIFY))
    assert response.type == pb.Response.OK
    assert (response.identify.id, list(response.identify.addrs)) == (bytes(peer(0)), [ADDR])


async def test_the_type_is_on_the_wire_even_when_it_is_zero(lab: ControlLab) -> None:
    """go's generated code refuses a message whose required field is absent."""
    async with lab.client() as client:
        await client.send(pb.Request(type=pb.Request.IDENTIFY))
        frame = await client.frame()
    assert frame is not None
    assert frame.startswith(b"\x08\x00")


async def test_connect_list_and_disconnect(lab: ControlLab) -> None:
    async with lab.client() as client:
        connect = pb.ConnectRequest(peer=bytes(peer(5)), addrs=[ADDR], timeout=3)
        response = await client.ask(pb.Request(type=pb.Request.CONNECT, connect=connect))
        assert response.type == pb.Response.OK
        response = await client.ask(pb.Request(type=pb.Request.LIST_PEERS))
        assert [(each.id, list(each.addrs)) for each in response.peers] == [
            (bytes(peer(5)), [ADDR]),
            (bytes(peer(1)), [ADDR]),
        ]
        disconnect = pb.DisconnectRequest(peer=bytes(peer(5)))
        await client.ask(pb.Request(type=pb.Request.DISCONNECT, disconnect=disconnect))
        response = await client.ask(pb.Request(type=pb.Request.LIST_PEERS))
        assert [each.id for each in response.peers] == [bytes(peer(1))]


async def test_values_with_binary_keys(lab: ControlLab) -> None:
    key = b"/pk/" + bytes(peer(3))
    async with lab.client() as client:
        response = await client.ask(dht(type=pb.DHTRequest.PUT_VALUE, key=key, value=b"\x00\xff"))
        assert response.type == pb.Response.OK
        assert not response.HasField("dht")
        response = await client.ask(dht(type=pb.DHTRequest.GET_VALUE, key=key))
        assert (response.dht.type, response.dht.value) == (pb.DHTResponse.VALUE, b"\x00\xff")


async def test_a_put_fails_only_if_nobody_stored_it(lab: ControlLab) -> None:
    async with lab.client() as client:
        await client.ask(dht(type=pb.DHTRequest.PUT_VALUE, key=b"k", value=b"v"))
    assert lab.node.calls == [("put", {"min_holders": 1, "timeout_s": 60.0})]


@pytest.mark.parametrize(
    "request_fields",
    [
        {"type": pb.DHTRequest.GET_VALUE, "key": b"absent"},
        {"type": pb.DHTRequest.FIND_PEER, "peer": bytes(peer(9))},
    ],
)
async def test_what_is_not_found_has_gos_text_and_our_code(lab: ControlLab, request_fields: dict) -> None:
    async with lab.client() as client:
        response = await client.ask(dht(**request_fields))
        assert response.type == pb.Response.ERROR
        assert response.error.msg == "routing: not found"
        assert response.error.code in ("value_not_found", "peer_not_found")
        assert (await client.ask(pb.Request(type=pb.Request.IDENTIFY))).type == pb.Response.OK


async def test_find_peer(lab: ControlLab) -> None:
    async with lab.client() as client:
        response = await client.ask(dht(type=pb.DHTRequest.FIND_PEER, peer=bytes(peer(1))))
    assert response.dht.type == pb.DHTResponse.VALUE
    assert (response.dht.peer.id, list(response.dht.peer.addrs)) == (bytes(peer(1)), [ADDR])


async def test_a_public_key_inside_the_peer_id_needs_no_lookup(lab: ControlLab) -> None:
    async with lab.client() as client:
        response = await client.ask(dht(type=pb.DHTRequest.GET_PUBLIC_KEY, peer=bytes(peer(9))))
    assert response.dht.value == peer(9).inline_public_key()


@pytest.mark.parametrize("cid", [CID_V0, CID_V1])
async def test_provide_and_find_providers_take_cids_of_both_versions(lab: ControlLab, cid: bytes) -> None:
    async with lab.client() as client:
        assert (await client.ask(dht(type=pb.DHTRequest.PROVIDE, cid=cid))).type == pb.Response.OK
        await client.send(dht(type=pb.DHTRequest.FIND_PROVIDERS, cid=cid, count=3))
        begin = await client.response()
        assert (begin.type, begin.dht.type) == (pb.Response.OK, pb.DHTResponse.BEGIN)
        found = await client.dht_stream()
        assert [each.peer.id for each in found] == [bytes(peer(number)) for number in (1, 2, 3)]
        assert (await client.ask(pb.Request(type=pb.Request.IDENTIFY))).type == pb.Response.OK


async def test_find_providers_without_a_count_gives_gos_default(lab: ControlLab) -> None:
    lab.node.provided.add(CID_V0)
    async with lab.client() as client:
        await client.send(dht(type=pb.DHTRequest.FIND_PROVIDERS, cid=CID_V0))
        await client.response()
        assert len(await client.dht_stream()) == 20


async def test_closest_peers_stream_ids_as_values(lab: ControlLab) -> None:
    async with lab.client() as client:
        await client.send(dht(type=pb.DHTRequest.GET_CLOSEST_PEERS, key=b"any"))
        assert (await client.response()).dht.type == pb.DHTResponse.BEGIN
        assert [each.value for each in await client.dht_stream()] == [bytes(peer(n)) for n in (1, 2, 3)]


async def test_peers_connected_to_a_peer_are_those_close_to_it_who_know_it(lab: ControlLab) -> None:
    async with lab.client() as client:
        fields = {"type": pb.DHTRequest.FIND_PEERS_CONNECTED_TO_PEER, "peer": bytes(peer(3))}
        await client.send(dht(**fields))
        assert (await client.response()).dht.type == pb.DHTResponse.BEGIN
        assert [each.peer.id for each in await client.dht_stream()] == [bytes(peer(1))]


async def test_search_value_streams_ever_better_values(lab: ControlLab) -> None:
    lab.node.values[b"k"] = b"newest"
    async with lab.client() as client:
        await client.send(dht(type=pb.DHTRequest.SEARCH_VALUE, key=b"k"))
        assert (await client.response()).dht.type == pb.DHTResponse.BEGIN
        assert [each.value for each in await client.dht_stream()] == [b"older", b"newest"]


async def test_a_search_that_fails_on_the_way_just_ends(lab: ControlLab) -> None:
    """After BEGIN the protocol has no error."""
    async with lab.client() as client:
        await client.send(dht(type=pb.DHTRequest.SEARCH_VALUE, key=b"absent"))
        await client.response()
        assert [each.value for each in await client.dht_stream()] == [b"older"]


@pytest.mark.parametrize(
    "request_message",
    [
        pb.Request(type=pb.Request.PUBSUB, pubsub=pb.PSRequest(type=pb.PSRequest.GET_TOPICS)),
        pb.Request(type=pb.Request.PUBSUB, pubsub=pb.PSRequest(type=pb.PSRequest.SUBSCRIBE, topic="t")),
    ],
)
async def test_what_is_not_served_is_an_error_on_a_usable_connection(
    lab: ControlLab, request_message: pb.Request
) -> None:
    async with lab.client() as client:
        response = await client.ask(request_message)
        assert (response.type, response.error.code) == (pb.Response.ERROR, "unsupported")
        assert (await client.ask(pb.Request(type=pb.Request.IDENTIFY))).type == pb.Response.OK


@pytest.mark.parametrize(
    "request_message",
    [
        pb.Request(type=pb.Request.CONNECT),
        pb.Request(type=pb.Request.DISCONNECT, disconnect=pb.DisconnectRequest(peer=b"x")),
        pb.Request(type=pb.Request.DHT),
        dht(type=pb.DHTRequest.FIND_PEER),
        dht(type=pb.DHTRequest.FIND_PROVIDERS, cid=b"no cid"),
        dht(type=pb.DHTRequest.PROVIDE, cid=b"\x12\x20short"),
    ],
)
async def test_wrong_arguments_are_named_on_a_usable_connection(
    lab: ControlLab, request_message: pb.Request
) -> None:
    async with lab.client() as client:
        response = await client.ask(request_message)
        assert response.type == pb.Response.ERROR
        assert response.error.code in ("invalid_argument", "peer_not_found", "malformed_request")
        assert response.error.msg
