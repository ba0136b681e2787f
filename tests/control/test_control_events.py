"""Subscription over the control socket: what ends it, and what it says then."""

from pathlib import Path

import pytest
import trio
from control_lab import LOOPBACK, ControlLab, RawClient, open_lab, until
from fake_node import FakeNode, peer

from primedht import limits
from primedht.pb import p2pd_pb2 as pb

IDENTIFY = pb.Request(type=pb.Request.IDENTIFY)


async def subscribe(client: RawClient, *operations: str, **fields: object) -> pb.Response:
    return await client.ask_prime(subscribe={"operations": operations}, **fields)


async def test_events_come_as_operations_end(lab: ControlLab) -> None:
    async with lab.client() as client, lab.client() as other:
        assert (await subscribe(client)).prime.HasField("subscribed")
        await other.ask_prime(put={"key": b"k", "value": b"value"})
        response = await client.response()
        event = response.prime.event
        assert response.prime.more
        assert (event.operation, event.key, event.outcome, event.value_bytes) == ("put", b"k", "ok", 5)
        assert list(event.peers) == [bytes(peer(0)), bytes(peer(1))]
        assert event.took_s >= 0
        assert event.started_unix_s > 1e9
        assert not event.HasField("trace")
        await other.ask_prime(put={"key": b"", "value": b"value"})
        assert (await client.response()).prime.event.outcome == "invalid_key"


async def test_traces_come_when_they_are_wanted(lab: ControlLab) -> None:
    async with lab.client() as client:
        await subscribe(client, "put", want_trace=True)
        await lab.node.put(b"k", b"v")
        assert (await client.response()).prime.event.trace.stopped == "converged"


async def test_an_unknown_operation_is_refused(lab: ControlLab) -> None:
    async with lab.client() as client:
        assert (await subscribe(client, "puts")).error.code == "invalid_argument"
        assert (await client.ask(IDENTIFY)).type == pb.Response.OK


async def test_it_ends_in_order_when_the_client_ends_its_side(lab: ControlLab) -> None:
    """A request that came meanwhile is answered afterwards, in its turn."""
    async with lab.client() as client:
        await subscribe(client)
        await client.send(IDENTIFY)
        await lab.node.put(b"k", b"v")
        assert (await client.response()).prime.HasField("event")
        await client.stream.send_eof()
        last = (await client.response()).prime
        assert (last.HasField("done"), last.more) == (True, False)
        assert (await client.response()).HasField("identify")
        assert await client.frame() is None
    assert not lab.node.events._subscriptions


async def test_a_client_that_goes_is_noticed_without_an_event(lab: ControlLab) -> None:
    async with lab.client() as client:
        await subscribe(client)
        assert lab.node.events._subscriptions
    await until(lambda: not lab.node.events._subscriptions and not lab.server._sessions)


async def test_a_subscriber_that_falls_behind_is_told_so_at_the_end(
    lab: ControlLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "EVENTS_WAITING_MAX", 50)
    key = b"k" * 1000
    async with lab.client() as client:
        await subscribe(client)
        (subscription,) = lab.node.events._subscriptions
        while not subscription.lagged:  # the events fill the socket, then the queue
            await lab.node.put(key, b"v")
            await trio.lowlevel.checkpoint()
        events = 0
        while (response := await client.response()).prime.HasField("event"):
            events += 1
        assert events >= 50
        assert (response.type, response.error.code) == (pb.Response.ERROR, "subscriber_too_slow")
        assert "more than 50 events waited" in response.error.msg
        assert (await client.ask(IDENTIFY)).type == pb.Response.OK


async def test_one_that_does_not_read_at_all_is_dropped(
    lab: ControlLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CONTROL_SEND_STALL_S", 0.05)
    async with lab.client() as client:
        await subscribe(client)
        while lab.server._sessions:
            await lab.node.put(b"k" * 1000, b"v")
            await trio.sleep(0.001)
    assert not lab.node.events._subscriptions


async def test_the_end_of_the_daemon_ends_it_with_a_reason(lab: ControlLab) -> None:
    async with lab.client() as client:
        await subscribe(client)
        with trio.fail_after(5):
            await lab.server.finish()
        error = (await client.response()).error
        assert (error.code, "the daemon is stopping" in error.msg) == ("no_daemon", True)
        assert await client.frame() is None


async def test_it_is_not_for_every_user_of_the_machine(tmp_path: Path) -> None:
    async with open_lab(FakeNode(), tmp_path, addr=LOOPBACK) as lab, lab.client() as client:
        assert (await subscribe(client)).error.code == "not_permitted"
