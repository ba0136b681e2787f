"""Five nodes of ours, three go and three js peers as one network: each reads what each other wrote."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import trio
from ours import IPFS, SIZES_KB, TEST, AnyPeer, digest_of, host_addr, open_any, providers_of, value_of
from peers import connect, until

pytestmark = [
    pytest.mark.interop,
    pytest.mark.usefixtures("built_peers"),
    pytest.mark.timeout(900),  # the first test may wait for a cold build
]

OP_TIMEOUT_S = 90.0  # eleven processes at once
KINDS = ("ours", "go", "js", "ours", "go", "js", "ours", "go", "js", "ours", "ours")


@asynccontextmanager
async def open_network(prefix: str) -> AsyncIterator[list[AnyPeer]]:
    """Eleven peers that were told of the first only, and have met."""
    async with AsyncExitStack() as stack:
        members = [await stack.enter_async_context(open_any(kind, prefix=prefix)) for kind in KINDS]
        first, *others = members
        for other in others:
            await connect(other, first)  # type: ignore[arg-type]
        ids = {member.peer_id for member in members}

        async def meet(member: AnyPeer) -> None:
            async def met() -> bool:
                # A lookup is how those that joined earlier meet those that joined later.
                found = (await member.call("closest_peers", key=member.peer_id.encode()))["peers"]
                return {*found, member.peer_id} >= ids

            await until(met, what=f"{member.kind} {member.peer_id} meeting all others", timeout_s=60)

        await each(members, meet)
        yield members


async def each(members: list[AnyPeer], operation: Callable[[AnyPeer], Awaitable[None]]) -> None:
    """Run `operation` with every member, all at once."""
    async with trio.open_nursery() as nursery:
        for member in members:
            nursery.start_soon(operation, member)


async def read_all(members: list[AnyPeer], values: dict[bytes, bytes]) -> None:
    """Check that every member reads every value."""

    async def read(reader: AnyPeer) -> None:
        for key, value in values.items():
            got = (await reader.call("get", key=key, timeout_s=OP_TIMEOUT_S))["value"]
            assert got == value, (reader.kind, key, None if got is None else len(got))

    await each(members, read)


async def write_all(writers: list[AnyPeer], sizes_kb: Sequence[int], mark: str) -> dict[bytes, bytes]:
    """Have every writer put a value of every size, each greater with a greater mark; return them."""
    values: dict[bytes, bytes] = {}

    async def write(writer: AnyPeer) -> None:
        for kilobytes in sizes_kb:
            key = b"/test/%d\xff\x00" % kilobytes + writer.peer_id.encode()
            values[key] = value_of(kilobytes, f"{mark} {writer.peer_id}")
            await writer.call("put", key=key, value=values[key], timeout_s=OP_TIMEOUT_S)

    await each(writers, write)
    return values


async def test_each_reads_the_values_of_each_other_under_an_own_prefix() -> None:
    """1, 8 and 60 KB, binary keys; then newer values of one writer of each kind."""
    async with open_network(TEST) as members:
        await read_all(members, await write_all(members, SIZES_KB, "first"))
        await read_all(members, await write_all(members[:3], SIZES_KB[:1], "second"))


async def test_each_reads_public_keys_and_finds_the_providers_of_each_other_under_ipfs() -> None:
    async with open_network(IPFS) as members:
        values: dict[bytes, bytes] = {}

        async def write(writer: AnyPeer) -> None:
            published = await writer.call("publish_pk", timeout_s=OP_TIMEOUT_S)
            values[published["key"]] = published["value"]
            await writer.call("provide", multihash=digest_of(writer.peer_id))

        await each(members, write)
        assert len(values) == len(members)
        await read_all(members, values)

        async def seek(seeker: AnyPeer) -> None:
            for provider in members[:3]:  # one of each kind
                found = await providers_of(seeker, "find_providers", digest_of(provider.peer_id), count=1)
                assert list(found) == [provider.peer_id]
                if provider is not seeker:
                    assert host_addr(provider.addr) in map(host_addr, found[provider.peer_id])

        await each(members, seek)
