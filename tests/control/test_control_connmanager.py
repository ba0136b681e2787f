"""CONNMANAGER: tags protect connected peers, TRIM closes the others' connections."""

import pytest
from control_lab import ControlLab
from fake_node import peer

from primedht import limits
from primedht.pb import p2pd_pb2 as pb

TAG, UNTAG = pb.ConnManagerRequest.TAG_PEER, pb.ConnManagerRequest.UNTAG_PEER
TRIM = pb.Request(
    type=pb.Request.CONNMANAGER, connManager=pb.ConnManagerRequest(type=pb.ConnManagerRequest.TRIM)
)


def connmanager(kind: int, number: int = 1, tag: str = "t", weight: int = 1) -> pb.Request:
    request = pb.ConnManagerRequest(type=kind, peer=bytes(peer(number)), tag=tag, weight=weight)
    return pb.Request(type=pb.Request.CONNMANAGER, connManager=request)


async def test_weights_above_zero_protect(lab: ControlLab) -> None:
    async with lab.client() as client:
        for request, protected in [
            (connmanager(TAG, tag="a", weight=5), True),
            (connmanager(TAG, tag="b", weight=-5), False),
            (connmanager(TAG, tag="b", weight=1), True),
            (connmanager(UNTAG, tag="a"), True),
            (connmanager(UNTAG, tag="absent"), True),
            (connmanager(UNTAG, tag="b"), False),
            (connmanager(UNTAG, tag="b"), False),
        ]:
            assert (await client.ask(request)).type == pb.Response.OK
            assert (peer(1) in lab.node.host.protected) == protected


async def test_trim_goes_down_to_the_low_mark_and_spares_the_tagged(lab: ControlLab) -> None:
    async with lab.client() as client:
        await client.ask(connmanager(TAG))
        lab.node.host.protected.clear()  # as the DHT does when it gives a peer up
        assert (await client.ask(TRIM)).type == pb.Response.OK
    assert lab.node.host.trimmed_to == [7]
    assert peer(1) in lab.node.host.protected


async def test_untagging_a_member_of_the_table_leaves_it_protected(lab: ControlLab) -> None:
    await lab.node.connect_peer(peer(3))
    lab.node.host.protected.add(peer(3))
    async with lab.client() as client:
        await client.ask(connmanager(TAG, 3))
        await client.ask(connmanager(UNTAG, 3))
    assert peer(3) in lab.node.host.protected


async def test_tags_end_with_the_last_connection(lab: ControlLab) -> None:
    async with lab.client() as client:
        await client.ask(connmanager(TAG))
    (listener,) = lab.node.host.listeners
    listener.on_disconnected(peer(1))
    listener.on_identified(peer(1), frozenset())
    assert peer(1) not in lab.node.host.protected


async def test_wrong_requests_and_limits(lab: ControlLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CONTROL_TAGS_PER_PEER_MAX", 1)
    async with lab.client() as client:
        for request, code in [
            (connmanager(TAG, tag=""), "invalid_argument"),
            (connmanager(TAG, tag="x" * 129), "invalid_argument"),
            (connmanager(TAG, 9), "peer_unreachable"),
            (connmanager(TAG), ""),
            (connmanager(TAG, tag="second"), "too_busy"),
            (connmanager(TAG, weight=2), ""),
        ]:
            assert (await client.ask(request)).error.code == code
