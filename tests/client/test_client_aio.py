"""The asynchronous client: every call on trio and on asyncio, its errors, and reconnection."""

import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from datetime import timedelta
from pathlib import Path

import anyio
import pytest
from fake_node import ADDR, peer
from processes import clean_environment, fake_daemon

from primedht import errors
from primedht.client import AsyncClient, PutItem
from primedht.wire import addrs

CID = b"\x01\x55\x12\x20" + b"\xbb" * 32
TEXT = addrs.format_addr(ADDR)
Run = Callable[[Callable[[AsyncClient], Awaitable[None]]], None]


@pytest.fixture(params=["trio", "asyncio"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def run(backend: str, control: str) -> Run:
    async def main(test: Callable[[AsyncClient], Awaitable[None]]) -> None:
        with anyio.fail_after(60):
            async with AsyncClient(control) as client:
                await test(client)

    return lambda test: anyio.run(main, test, backend=backend)


def test_values(run: Run) -> None:
    async def calls(client: AsyncClient) -> None:
        result = await client.put("k", b"v", ttl=timedelta(hours=1), want_trace=True)
        assert (result.key, result.holders) == (b"k", (peer(0), peer(1)))
        assert result.trace is not None
        assert (await client.get_record(b"k")).payload == b"v"
        assert await client.get("k") == b"v"
        assert (await client.delete("k")).key == b"k"
        assert await client.get("k") is None
        items = [PutItem("a", b"1"), PutItem("", b"2", ttl=5)]
        outcomes = {each.key: each async for each in client.put_many(items)}
        assert outcomes[b"a"].result is not None
        assert isinstance(outcomes[b""].error, errors.InvalidKey)
        found = {each.key: each async for each in client.get_many(["a", "absent"])}
        assert found[b"a"].result is not None
        assert isinstance(found[b"absent"].error, errors.ValueNotFound)

    run(calls)


def test_peers_and_providers(run: Run) -> None:
    async def calls(client: AsyncClient) -> None:
        assert (await client.provide(CID)).told == (peer(1),)
        assert [each.id async for each in client.find_providers(CID, limit=2)] == [peer(1), peer(2)]
        assert await client.stop_providing(CID)
        assert await client.find_peer(str(peer(1))) == (peer(1), (TEXT,))
        assert [each.id for each in await client.closest_peers("k")] == [peer(1), peer(2), peer(3)]
        assert [each.how for each in await client.peers()] == ["bootstrap"]
        assert (await client.connect("host:4101")).id == peer(1)
        await client.disconnect(peer(5))
        assert await client.ping(peer(1)) == 0.0125
        assert await client.identify() == (peer(0), (TEXT,))
        assert (await client.status())["peer_id"] == str(peer(0))
        assert (await client.drain()).left_over == 0

    run(calls)


def test_the_daemons_errors_are_exceptions_of_their_code(run: Run) -> None:
    async def calls(client: AsyncClient) -> None:
        with pytest.raises(errors.QuorumNotReached) as caught:
            await client.put("k", b"v", min_holders=99)
        assert (caught.value.found, caught.value.wanted) == (2, 99)
        with pytest.raises(errors.PeerNotFound):
            await client.find_peer(peer(9))
        with pytest.raises(errors.OperationTimeout):
            await client.get(b"never", timeout=0.05)

    run(calls)


def test_events(run: Run) -> None:
    async def calls(client: AsyncClient) -> None:
        async with aclosing(await client.events(["put"])) as events:
            await client.put("k", b"value")
            first = await anext(events)
        assert (first.operation, first.key, first.value_bytes) == ("put", b"k", 5)
        with pytest.raises(errors.InvalidArgument):
            await client.events(["puts"])
        events = await client.events()
        with anyio.move_on_after(0.05) as patience:
            await anext(events)
        assert patience.cancelled_caught
        assert (await client.identify()).id == peer(0)

    run(calls)


def test_calls_of_several_tasks_and_cancelled_ones_do_not_mix(run: Run) -> None:
    async def calls(client: AsyncClient) -> None:
        with anyio.move_on_after(0.05):
            await client.get(b"never")
        await client.provide(CID)
        async with aclosing(client.find_providers(CID, limit=20)) as found:
            assert (await anext(found)).id == peer(1)

        async def one(number: int) -> None:
            await client.put(f"key {number}", str(number).encode())
            assert await client.get(f"key {number}") == str(number).encode()

        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(one, number)

    run(calls)


def test_a_restarted_daemon_is_found_again(backend: str, tmp_path: Path) -> None:
    control = f"/unix{tmp_path}/c.sock"

    async def main() -> None:
        async with AsyncClient(control) as client:
            with fake_daemon(control):
                assert (await client.identify()).id == peer(0)
            with pytest.raises(errors.DaemonUnavailable):
                await client.identify()
            with fake_daemon(control):
                assert (await client.identify()).id == peer(0)

    anyio.run(main, backend=backend)


def test_importing_it_loads_neither_libp2p_nor_pydantic_nor_the_engine() -> None:
    program = (
        "import sys; from primedht.client import AsyncClient\n"
        "print([name for name in ('libp2p', 'pydantic', 'multiaddr', 'primedht.node', 'primedht.dht') "
        "if name in sys.modules])"
    )
    output = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=clean_environment(), check=True
    ).stdout
    assert output == "[]\n"


def test_the_blocking_client_needs_no_anyio() -> None:
    program = "import sys, primedht.client; sys.exit('anyio' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], env=clean_environment(), check=True)


def test_names_and_traces(run: Run) -> None:
    async def use(client: AsyncClient) -> None:
        published = await client.publish_name("/ipfs/x", lifetime=60, once=True)
        assert (published.record.value, published.put.degraded) == ("/ipfs/x", True)
        for name in (f"/ipns/{peer(0)}", peer(0), bytes(peer(0))):
            assert (await client.resolve_name(name)).sequence == 5
        with pytest.raises(errors.ValueNotFound):
            await client.resolve_name(peer(1))
        assert (await client.trace_lookup("k")).asked[1].heard_from == peer(1)

    run(use)
