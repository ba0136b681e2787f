"""The control server: order, limits, hostile clients, and an orderly end."""

import grp
import json
import os
import socket
import stat
from contextlib import suppress
from pathlib import Path

import pytest
import trio
from control_lab import LOOPBACK, ControlLab, open_lab, until
from fake_node import FakeNode, peer
from trio.testing import MockClock

from primedht import limits
from primedht.control.listeners import Access, open_listeners
from primedht.control_addr import UnixAddr
from primedht.errors import AddressInUse, ConfigInvalid, InvalidArgument
from primedht.pb import p2pd_pb2 as pb
from primedht.wire import varint

IDENTIFY = pb.Request(type=pb.Request.IDENTIFY)


def get(key: bytes, **fields: object) -> pb.Request:
    prime = pb.PrimeRequest(get=pb.GetRequest(key=key), **fields)
    return pb.Request(type=pb.Request.PRIME, prime=prime)


def put(key: bytes, value: bytes = b"v", **fields: object) -> pb.Request:
    prime = pb.PrimeRequest(put=pb.PutRequest(key=key, value=value, **fields))
    return pb.Request(type=pb.Request.PRIME, prime=prime)


# --- our own requests ------------------------------------------------------------------------------


async def test_put_and_get(lab: ControlLab) -> None:
    async with lab.client() as client:
        response = await client.ask(put(b"k", b"v", ttl_s=2.5, min_holders=2, once=True, compress="zstd"))
        assert list(response.prime.put.holders) == [bytes(peer(0)), bytes(peer(1))]
        assert response.prime.put.refused[0].code == "peer_timeout"
        assert not response.prime.put.HasField("trace")
        response = await client.ask(get(b"k"))
        assert (response.prime.found.value, response.prime.found.writer_unix_ms) == (b"v", 5)
        assert not response.prime.more
    assert lab.node.calls == [
        ("put", {"ttl": 2.5, "min_holders": 2, "once": True, "compress": "zstd", "timeout": 60.0})
    ]


async def test_a_trace_comes_when_it_is_wanted(lab: ControlLab) -> None:
    request = put(b"k")
    request.prime.want_trace = True
    async with lab.client() as client:
        trace = (await client.ask(request)).prime.put.trace
        absent = (await client.ask(get(b"absent", want_trace=True))).error
        assert not (await client.ask(get(b"absent"))).error.HasField("trace")
    assert (trace.stopped, trace.asked[0].outcome, trace.asked[0].took_s) == ("converged", "answered", 0.25)
    assert [ask.heard_from for ask in trace.asked] == [b"", bytes(peer(1))]
    assert absent.code == "value_not_found"
    assert absent.trace.asked == trace.asked


async def test_errors_carry_code_and_details(lab: ControlLab) -> None:
    async with lab.client() as client:
        response = await client.ask(put(b"k", min_holders=99))
        error = response.error
        assert (error.code, error.found, error.wanted, error.best) == ("quorum_not_reached", 2, 99, b"best")
        assert (await client.ask(get(b"absent"))).error.code == "value_not_found"
        assert (await client.ask(put(b""))).error.code == "invalid_key"


async def test_a_fault_of_ours_is_an_error_and_the_server_goes_on(lab: ControlLab) -> None:
    async with lab.client() as client:
        assert (await client.ask(get(b"bug"))).error.code == "internal_error"
        assert (await client.ask(IDENTIFY)).type == pb.Response.OK


async def test_one_failing_item_stops_no_other(lab: ControlLab) -> None:
    items = [pb.PutRequest(key=key, value=b"v") for key in (b"a", b"", b"c")]
    async with lab.client() as client:
        await client.send(pb.Request(type=pb.Request.PRIME, prime={"put_many": {"items": items}}))
        answers = {}
        while (prime := (await client.response()).prime).more:
            answers[prime.index] = prime
        assert prime.HasField("done")
    assert [answers[index].WhichOneof("result") for index in range(3)] == ["put", "failed", "put"]
    assert answers[1].failed.code == "invalid_key"


async def test_a_batch_has_a_limit(lab: ControlLab) -> None:
    async with lab.client() as client:
        response = await client.ask_prime(get_many={"keys": [b"k"] * (limits.CONTROL_BATCH_ITEMS_MAX + 1)})
        assert response.error.code == "invalid_argument"


async def test_status_is_one_json_object(lab: ControlLab) -> None:
    async with lab.client() as client:
        response = await client.ask_prime(status={})
    assert json.loads(response.prime.status.json) == lab.node.status()


async def test_an_operation_ends_at_its_time_limit(lab: ControlLab) -> None:
    async with lab.client() as client:
        response = await client.ask(get(b"never", timeout_s=0.01))
        assert response.error.code == "timeout"
        for wrong in (0.0, -1.0, float("nan"), float("inf"), 1e9):
            assert (await client.ask(get(b"k", timeout_s=wrong))).error.code == "invalid_argument"


# --- order and hostility ---------------------------------------------------------------------------


async def test_requests_of_one_connection_are_answered_in_order(lab: ControlLab) -> None:
    async with lab.client() as client, lab.client() as other:
        await client.send(get(b"slow"), IDENTIFY)
        await lab.node.slow_key_reached.wait()
        assert (await other.ask(IDENTIFY)).type == pb.Response.OK, "others do not wait for it"
        lab.node.slow_key_go.set()
        assert (await client.response()).prime.found.value == b"at last"
        assert (await client.response()).identify.id == bytes(peer(0))


async def test_a_request_may_come_byte_by_byte(lab: ControlLab) -> None:
    raw = IDENTIFY.SerializeToString()
    async with lab.client() as client:
        for byte in varint.encode(len(raw)) + raw:
            await client.stream.send_all(bytes([byte]))
        assert (await client.response()).type == pb.Response.OK


async def test_a_client_may_close_its_sending_side_and_still_gets_its_answer(lab: ControlLab) -> None:
    async with lab.client() as client:
        await client.send(IDENTIFY)
        await client.stream.send_eof()
        assert (await client.response()).type == pb.Response.OK
        assert await client.frame() is None


@pytest.mark.parametrize(
    "raw",
    [
        b"\x05hello",
        b"\x00",
        b"\x02\x08\x63",  # a type that nobody knows
        varint.encode(limits.CONTROL_REQUEST_BYTES_MAX + 1),
        b"\xff" * 9,
        b"\x80\x00",
        b"\x02\x08\x64",  # PRIME without an operation
    ],
)
async def test_what_is_malformed_gets_an_error_and_a_closed_connection(lab: ControlLab, raw: bytes) -> None:
    async with lab.client() as client:
        await client.stream.send_all(raw)
        with trio.fail_after(limits.CONTROL_REQUEST_S / 2):
            response = await client.response()
        assert (response.type, response.error.code) == (pb.Response.ERROR, "malformed_request")
        assert await client.frame() is None
    async with lab.client() as client:
        assert (await client.ask(IDENTIFY)).type == pb.Response.OK


async def test_an_end_within_a_request_is_malformed(lab: ControlLab) -> None:
    async with lab.client() as client:
        await client.stream.send_all(b"\x20half")
        await client.stream.send_eof()
        assert (await client.response()).error.code == "malformed_request"


async def test_a_request_that_never_completes_ends_in_time(
    lab: ControlLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CONTROL_REQUEST_S", 0.05)
    async with lab.client() as client:
        await client.stream.send_all(b"\x20half")
        response = await client.response()
        assert "not complete within" in response.error.msg
        assert await client.frame() is None


async def test_few_large_requests_are_received_at_once(
    lab: ControlLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half-sent large requests cannot fill the memory: the next one waits its turn, and gets it."""
    monkeypatch.setattr(limits, "CONTROL_SMALL_REQUEST_BYTES", 1000)
    lab.server._large_requests.total_tokens = 1
    large = put(b"k", b"x" * 500_000)
    raw = varint.encode(large.ByteSize()) + large.SerializeToString()
    async with lab.client() as first, lab.client() as second:
        await first.stream.send_all(raw[:300_000])
        await until(lambda: lab.server._large_requests.borrowed_tokens)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(second.stream.send_all, raw)
            await until(lambda: lab.server._large_requests.statistics().tasks_waiting)
            await first.stream.send_all(raw[300_000:])
            assert (await first.response()).type == pb.Response.OK
            assert (await second.response()).type == pb.Response.OK


async def test_a_client_that_does_not_read_is_dropped(
    lab: ControlLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CONTROL_SEND_STALL_S", 0.05)
    lab.node.values[b"k"] = b"x" * 60_000
    async with lab.client() as client:
        with suppress(trio.BrokenResourceError):
            while True:  # the answers fill the socket, then our requests do
                await client.send(*[get(b"k")] * 50)
    await until(lambda: not lab.server._sessions)


async def test_too_many_connections_are_told_so(lab: ControlLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CONTROL_CONNECTIONS_MAX", 1)
    async with lab.client() as first:
        await first.ask(IDENTIFY)
        async with lab.client() as second:
            assert (await second.response()).error.code == "too_busy"
            assert await second.frame() is None
        assert (await first.ask(IDENTIFY)).type == pb.Response.OK


async def test_three_hundred_connections_at_once(lab: ControlLab) -> None:
    answered = 0

    async def one() -> None:
        nonlocal answered
        async with lab.client() as client:
            await client.ask(IDENTIFY)
            answered += 1
            await until(lambda: answered == 300)

    async with trio.open_nursery() as nursery:
        for _ in range(300):
            nursery.start_soon(one)
    assert answered == 300


# --- the end ---------------------------------------------------------------------------------------


async def test_finishing_answers_what_is_under_way_and_closes_what_is_idle(lab: ControlLab) -> None:
    async with lab.client() as idle, lab.client() as busy, lab.client() as next_request:
        await idle.ask(IDENTIFY)
        await next_request.ask(IDENTIFY)
        await busy.send(get(b"slow"), IDENTIFY)
        await lab.node.slow_key_reached.wait()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lab.server.finish)
            assert await idle.frame() is None
            lab.node.slow_key_go.set()
            assert (await busy.response()).prime.found.value == b"at last"
            assert await busy.frame() is None, "no further request is taken"


async def test_finishing_waits_for_what_is_under_way_when_others_had_left_before(lab: ControlLab) -> None:
    async with lab.client() as gone:
        await gone.ask(IDENTIFY)
    await until(lambda: not lab.server._sessions)  # the only moment at which nobody is connected
    async with lab.client() as busy:
        await busy.send(get(b"slow"))
        await lab.node.slow_key_reached.wait()
        finished = trio.Event()

        async def finish() -> None:
            await lab.server.finish()
            finished.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(finish)
            await trio.testing.wait_all_tasks_blocked()
            assert not finished.is_set(), "the daemon ends, and cancels the request, once this returns"
            lab.node.slow_key_go.set()
            assert (await busy.response()).prime.found.value == b"at last"
            await finished.wait()


async def test_finishing_without_connections_returns_at_once(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_lab(FakeNode(), tmp_path) as lab:
        await lab.server.finish()
    assert trio.current_time() < 1


# --- sockets ---------------------------------------------------------------------------------------


def test_the_socket_is_private_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"
    with open_listeners([UnixAddr(str(path))], Access()):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.exists()


def test_mode_and_group_widen_it(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"
    tmp_path.chmod(0o700)
    group = grp.getgrgid(os.getgid()).gr_name
    with open_listeners([UnixAddr(str(path))], Access(mode=0o660, group=group)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o710, "the group can pass through to the socket"
    with pytest.raises(ConfigInvalid, match="no group 'nobody-has-this'"):
        open_listeners([UnixAddr(str(path))], Access(group="nobody-has-this")).__enter__()


def test_a_stale_socket_is_replaced_and_a_live_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with open_listeners([UnixAddr(str(path))], Access()):
        with pytest.raises(AddressInUse, match="another process listens on it"):
            open_listeners([UnixAddr(str(path))], Access()).__enter__()
        assert path.exists()


def test_another_file_is_never_removed(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("mine")
    with pytest.raises(AddressInUse, match="no socket"):
        open_listeners([UnixAddr(str(path))], Access()).__enter__()
    assert path.read_text() == "mine"


def test_a_path_that_no_socket_can_have(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="over 107 bytes"):
        open_listeners([UnixAddr(str(tmp_path / ("x" * 108)))], Access()).__enter__()
    with pytest.raises(InvalidArgument, match="No such file or directory"):
        open_listeners([UnixAddr(str(tmp_path / "absent" / "c.sock"))], Access()).__enter__()


async def test_tcp_may_not_sign_or_administrate(tmp_path: Path) -> None:
    async with open_lab(FakeNode(), tmp_path, addr=LOOPBACK) as lab, lab.client() as client:
        assert (await client.ask(put(b"open"))).type == pb.Response.OK
        signed = put(b"/prime/model/" + str(peer(0)).encode() + b"/x")
        assert (await client.ask(signed)).error.code == "not_permitted"
        assert (await client.ask_prime(drain={})).error.code == "not_permitted"
        batch = {"items": [signed.prime.put]}
        assert (await client.ask_prime(put_many=batch)).error.code == "not_permitted"


async def test_trusted_tcp_may(tmp_path: Path) -> None:
    async with open_lab(FakeNode(), tmp_path, addr=LOOPBACK, tcp_trusted=True) as lab, lab.client() as client:
        assert (await client.ask_prime(drain={})).type == pb.Response.OK


async def test_a_tcp_port_in_use_is_named(tmp_path: Path) -> None:
    with (
        open_listeners([LOOPBACK], Access()) as listeners,
        pytest.raises(AddressInUse, match="port in use"),
        open_listeners([listeners[0].addr], Access()),
    ):
        pass
