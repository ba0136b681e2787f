"""Puts and gets in chunks, step by step, and what ends them early."""

import hashlib
from pathlib import Path

import pytest
import trio
import trio.testing
from control_lab import LOOPBACK, ControlLab, RawClient, open_lab, until
from fake_node import LARGE_PIECE, FakeNode, peer

from primedht import limits
from primedht.pb import p2pd_pb2 as pb

IDENTIFY = pb.Request(type=pb.Request.IDENTIFY)
TRANSFER, LOOKUP, STORE = pb.Progress.TRANSFER, pb.Progress.LOOKUP, pb.Progress.STORE


def prime(**operation: object) -> pb.Request:
    return pb.Request(type=pb.Request.PRIME, prime=pb.PrimeRequest(**operation))


def chunk(data: bytes) -> pb.Request:
    return prime(put_chunk={"data": data})


COMMIT = prime(put_commit={})


async def begin(client: RawClient, key: bytes = b"k", **fields: object) -> pb.Response:
    return await client.ask(prime(put_begin={"key": key, **fields}))


def shown(response: pb.Response) -> tuple[int, int, int | None]:
    progress = response.prime.progress
    total = progress.total_bytes if progress.HasField("total_bytes") else None
    return progress.stage, progress.done_bytes, total


# --- puts --------------------------------------------------------------------------------------------


async def test_each_step_of_a_put_is_answered(lab: ControlLab) -> None:
    async with lab.client() as client:
        fields = {"ttl_s": 2.5, "min_holders": 2, "once": True, "compress": "zstd"}
        assert shown(await begin(client, size=5, **fields)) == (TRANSFER, 0, 5)
        assert shown(await client.ask(chunk(b"val"))) == (TRANSFER, 3, 5)
        assert shown(await client.ask(chunk(b"ue"))) == (TRANSFER, 5, 5)
        assert lab.node.values == {}, "nothing is there before the commit"
        response = await client.ask(prime(put_commit={}, timeout_s=7, want_trace=True))
        assert list(response.prime.put.holders) == [bytes(peer(0)), bytes(peer(1))]
        assert response.prime.put.trace.stopped == "converged"
    assert lab.node.values == {b"k": b"value"}
    assert lab.node.calls == [
        ("put", {"ttl": 2.5, "min_holders": 2, "once": True, "compress": "zstd", "timeout": 7.0})
    ]


async def test_the_steps_may_be_sent_at_once(lab: ControlLab) -> None:
    async with lab.client() as client:
        await client.send(prime(put_begin={"key": b"k"}), chunk(b"a"), chunk(b"b"), COMMIT, IDENTIFY)
        assert [shown(await client.response()) for _ in range(3)] == [
            (TRANSFER, 0, None),
            (TRANSFER, 1, None),
            (TRANSFER, 2, None),
        ]
        assert (await client.response()).prime.HasField("put")
        assert (await client.response()).HasField("identify")


async def test_an_announced_size_is_refused_before_any_byte_is_sent(lab: ControlLab) -> None:
    async with lab.client() as client:
        assert (await begin(client, size=limits.INLINE_BYTES_MAX + 1)).error.code == "value_too_large"
        assert (await begin(client, key=b"")).error.code == "invalid_key"
        assert lab.node.open_transfers == 0
        assert (await client.ask(IDENTIFY)).type == pb.Response.OK


async def test_without_an_announced_size_the_limit_applies_as_chunks_come(lab: ControlLab) -> None:
    async with lab.client() as client:
        await begin(client)
        assert shown(await client.ask(chunk(bytes(limits.INLINE_BYTES_MAX))))[1] == limits.INLINE_BYTES_MAX
        assert (await client.ask(chunk(b"x"))).error.code == "value_too_large"


@pytest.mark.parametrize("sent", [b"too much", b"less"])
async def test_another_size_than_announced_is_refused(lab: ControlLab, sent: bytes) -> None:
    async with lab.client() as client:
        await begin(client, size=5)
        await client.send(chunk(sent), COMMIT)
        answers = [await client.response() for _ in range(2)]
        assert answers[-1].error.code == "invalid_argument"
        assert (await client.ask(IDENTIFY)).type == pb.Response.OK
    assert lab.node.values == {}


async def test_after_an_error_every_step_under_way_gets_it_and_the_connection_goes_on(
    lab: ControlLab,
) -> None:
    lab.node.capacity = 3
    async with lab.client() as client:
        await begin(client, key=b"large")
        await client.send(chunk(b"ab"), chunk(b"cd"), chunk(b"ef"), COMMIT, IDENTIFY)
        answers = [await client.response() for _ in range(5)]
        assert [each.error.code for each in answers] == ["", "store_full", "store_full", "store_full", ""]
        await begin(client, key=b"large")
        assert (await client.ask(chunk(b"abcd"))).error.code == "store_full"
        assert (await client.ask(IDENTIFY)).HasField("identify"), "who waits for answers need send no more"
    assert (lab.node.values, lab.node.open_transfers) == ({}, 0)


async def test_a_failed_commit_carries_code_and_trace(lab: ControlLab) -> None:
    async with lab.client() as client:
        await begin(client, min_holders=99)
        error = (await client.ask(COMMIT)).error
        assert (error.code, error.found, error.wanted) == ("quorum_not_reached", 2, 99)
        assert (await client.ask(IDENTIFY)).type == pb.Response.OK


@pytest.mark.parametrize("wrong", [IDENTIFY, prime(get={"key": b"k"}), prime(put_begin={"key": b"k"})])
async def test_nothing_else_may_come_in_the_middle_of_a_put(lab: ControlLab, wrong: pb.Request) -> None:
    async with lab.client() as client:
        await begin(client)
        assert (await client.ask(wrong)).error.code == "malformed_request"
        assert await client.frame() is None
    assert lab.node.open_transfers == 0


@pytest.mark.parametrize("step", [chunk(b"x"), COMMIT])
async def test_a_step_without_a_beginning_is_malformed(lab: ControlLab, step: pb.Request) -> None:
    async with lab.client() as client:
        assert (await client.ask(step)).error.code == "malformed_request"
        assert await client.frame() is None


async def test_a_chunk_has_a_limit(lab: ControlLab) -> None:
    async with lab.client() as client:
        await begin(client, key=b"large")
        largest = bytes(limits.CONTROL_CHUNK_BYTES_MAX)
        assert shown(await client.ask(chunk(largest)))[1] == len(largest)
        assert (await client.ask(chunk(largest + b"x"))).error.code == "malformed_request"


async def test_a_client_that_leaves_in_the_middle_leaves_nothing(lab: ControlLab) -> None:
    async with lab.client() as client:
        await begin(client)
        await client.ask(chunk(b"half"))
        assert lab.node.open_transfers == 1
    await until(lambda: not lab.node.open_transfers)
    assert lab.node.values == {}


async def test_a_put_that_waits_for_its_client_does_not_hold_up_the_end(lab: ControlLab) -> None:
    async with lab.client() as client:
        await begin(client)
        with trio.fail_after(5):
            await lab.server.finish()
        assert await client.frame() is None
    assert lab.node.open_transfers == 0


async def test_signed_keys_are_not_put_over_tcp(tmp_path: Path) -> None:
    async with open_lab(FakeNode(), tmp_path, addr=LOOPBACK) as lab, lab.client() as client:
        signed = b"/prime/model/" + str(peer(0)).encode() + b"/x"
        assert (await begin(client, key=signed)).error.code == "not_permitted"


# --- gets --------------------------------------------------------------------------------------------


async def test_a_get_tells_the_size_and_sends_the_pieces(lab: ControlLab) -> None:
    lab.node.values[b"k"] = bytes(limits.CONTROL_CHUNK_BYTES) + b"rest"
    async with lab.client() as client:
        first = await client.ask(prime(get_chunked={"key": b"k"}))
        assert (first.prime.more, first.prime.value_begin.size) == (True, limits.CONTROL_CHUNK_BYTES + 4)
        found = first.prime.value_begin.found
        assert (found.value, found.writer_unix_ms, found.authenticated) == (b"", 5, True)
        chunks = [(await client.response()).prime.value_chunk.data for _ in range(2)]
        assert chunks == [bytes(limits.CONTROL_CHUNK_BYTES), b"rest"]
        last = (await client.response()).prime
        assert (last.HasField("done"), last.more) == (True, False)
        assert (await client.ask(prime(get_chunked={"key": b"absent"}))).error.code == "value_not_found"


async def test_an_empty_value_has_no_pieces(lab: ControlLab) -> None:
    lab.node.values[b"k"] = b""
    async with lab.client() as client:
        assert (await client.ask(prime(get_chunked={"key": b"k"}))).prime.value_begin.size == 0
        assert (await client.response()).prime.HasField("done")


async def test_a_get_that_fails_half_way_ends_in_an_error(lab: ControlLab) -> None:
    async with lab.client() as client:
        size = 4 * len(LARGE_PIECE)
        await client.ask(prime(get_chunked={"key": b"broken/%d" % size}))
        while (response := await client.response()).prime.more:
            pass
        assert response.error.code == "peer_unreachable"
        assert (await client.ask(IDENTIFY)).type == pb.Response.OK
    assert lab.node.open_transfers == 0


async def test_a_large_value_is_never_ahead_of_its_reader(lab: ControlLab) -> None:
    """What is read of it is what the sockets hold; the rest waits for the client."""
    size = 1 << 30
    async with lab.client() as client:
        await client.ask(prime(get_chunked={"key": b"large/%d" % size}))
        (session,) = lab.server._sessions
        await until(lambda: session.busy and _unread(client) > 0)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert _unread(client) < 1 << 20
    await until(lambda: not lab.node.open_transfers)


def _unread(client: RawClient) -> int:
    import array
    import fcntl
    import termios

    waiting = array.array("i", [0])
    fcntl.ioctl(client.stream.socket.fileno(), termios.FIONREAD, waiting)
    return waiting[0]


# --- signs of life -----------------------------------------------------------------------------------


async def test_what_takes_long_says_that_it_is_under_way(
    lab: ControlLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CONTROL_PROGRESS_S", 0.01)
    async with lab.client() as client:
        assert shown(await client.ask(prime(get_chunked={"key": b"slow"}))) == (LOOKUP, 0, None)
        assert shown(await client.response()) == (LOOKUP, 0, None)
        lab.node.slow_key_go.set()
        while (response := await client.response()).prime.HasField("progress"):
            assert response.prime.more
        assert response.prime.value_begin.size == 7
        assert (await client.response()).prime.value_chunk.data == b"at last"
        assert (await client.response()).prime.HasField("done")


async def test_so_does_the_commit_of_a_put(lab: ControlLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CONTROL_PROGRESS_S", 0.01)
    async with lab.client() as client:
        await begin(client, key=b"slow")
        await client.ask(chunk(b"value"))
        assert shown(await client.ask(COMMIT)) == (STORE, 5, 5)
        lab.node.slow_key_go.set()
        while (response := await client.response()).prime.more:
            pass
        assert response.prime.put.key == b"slow"


async def test_time_limits_hold_for_finding_and_for_storing(lab: ControlLab) -> None:
    async with lab.client() as client:
        request = prime(get_chunked={"key": b"never"}, timeout_s=0.01)
        assert (await client.ask(request)).error.code == "timeout"
        await begin(client, key=b"slow")
        assert (await client.ask(prime(put_commit={}, timeout_s=0.01))).error.code == "timeout"
        await begin(client)
        assert (await client.ask(prime(put_commit={}, timeout_s=-1))).error.code == "invalid_argument"


async def test_who_leaves_while_it_is_looked_for_is_noticed(
    lab: ControlLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CONTROL_PROGRESS_S", 0.01)
    async with lab.client() as client:
        await client.ask(prime(get_chunked={"key": b"never"}))
    await until(lambda: not lab.server._sessions)


async def test_many_bytes_arrive_as_they_were_sent(lab: ControlLab) -> None:
    data = hashlib.shake_256(b"seed").digest(3_000_000)
    pieces = [data[start : start + 50_001] for start in range(0, len(data), 50_001)]
    async with lab.client() as client:
        await begin(client, key=b"large", size=len(data))
        for piece in pieces:
            await client.ask(chunk(piece))
        await client.ask(COMMIT)
    assert lab.node.values[b"large"] == f"{len(data)} {hashlib.sha256(data).hexdigest()}".encode()
