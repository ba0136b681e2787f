"""CONNMANAGER: tags weigh connected peers, TRIM closes what is above the low mark."""

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


async def test_a_peer_weighs_the_sum_of_its_tags(lab: ControlLab) -> None:
    async with lab.client() as client:
        for request, value in [
            (connmanager(TAG, tag="a", weight=5), 5),
            (connmanager(TAG, tag="b", weight=-7), -2),
            (connmanager(TAG, tag="b", weight=1), 6),
            (connmanager(UNTAG, tag="a"), 1),
            (connmanager(UNTAG, tag="absent"), 1),
            (connmanager(UNTAG, tag="b"), 0),
            (connmanager(UNTAG, tag="b"), 0),
        ]:
            assert (await client.ask(request)).type == pb.Response.OK
            assert lab.node.host.tags.value(peer(1)) == value
            assert not lab.node.host.tags.is_protected(peer(1))


async def test_trim_goes_down_to_the_low_mark(lab: ControlLab) -> None:
    async with lab.client() as client:
        assert (await client.ask(TRIM)).type == pb.Response.OK
    assert lab.node.host.trimmed_to == [7]


async def test_tags_do_not_touch_the_protection_of_the_table(lab: ControlLab) -> None:
    lab.node.host.tags.protect(peer(3), "kbucket")
    async with lab.client() as client:
        await client.ask(connmanager(TAG, 3, tag="kbucket"))
        await client.ask(connmanager(UNTAG, 3, tag="kbucket"))
    assert lab.node.host.tags.is_protected(peer(3))


async def test_wrong_requests_and_limits(lab: ControlLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CONTROL_TAGS_PER_PEER_MAX", 1)
    monkeypatch.setattr(limits, "TAGGED_PEERS_MAX", 2)
    async with lab.client() as client:
        for request, code in [
            (connmanager(TAG, tag=""), "invalid_argument"),
            (connmanager(TAG, tag="x" * 129), "invalid_argument"),
            (connmanager(TAG, 9), ""),  # go takes tags of peers that are not connected yet
            (connmanager(TAG), ""),
            (connmanager(TAG, tag="second"), "too_busy"),
            (connmanager(TAG, weight=2), ""),
            (connmanager(TAG, 4), "too_busy"),
            (connmanager(UNTAG, 9), ""),
            (connmanager(TAG, 4), ""),
        ]:
            assert (await client.ask(request)).error.code == code
