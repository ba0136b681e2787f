"""Values that one answer of the control socket cannot take."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import trio

sys.path.insert(0, str(Path(__file__).parents[1] / "control"))

from control_lab import open_lab
from model_lab import open_nodes

from primedht import limits
from primedht.client import AsyncClient
from primedht.errors import DecompressionFailed, InvalidArgument, ValueTooLarge
from primedht.pb import p2pd_pb2 as pb
from primedht.records.pointer import decode_pointer, sign_open_pointer


async def test_get_many_says_which_values_are_to_be_got_by_themselves(tmp_path: Path) -> None:
    large = bytes(3 << 20)
    async with (
        open_nodes(1) as (node,),
        open_lab(cast("Any", node), tmp_path) as lab,
        AsyncClient(str(lab.addr)) as client,
    ):
        await client.put("large", large)
        await client.put("small", large[: 1 << 20])
        found = {item.key: item async for item in client.get_many(["large", "small"])}
        assert found[b"small"].result is not None
        assert found[b"small"].result.value == large[: 1 << 20]
        error = found[b"large"].error
        assert isinstance(error, ValueTooLarge)
        assert "by itself" in str(error)
        assert await client.get("large") == large


async def test_values_are_compressed_as_the_caller_says(tmp_path: Path) -> None:
    async with (
        open_nodes(1) as (node,),
        open_lab(cast("Any", node), tmp_path) as lab,
        AsyncClient(str(lab.addr)) as client,
    ):
        for size in (20_000, 3 << 20):  # in one request, and in chunks
            value = bytes(size)
            await client.put("value", value, compress="zstd")
            pointer = decode_pointer((await node.dht.get_value(b"value")).payload)
            assert (pointer.codec, pointer.content_bytes) == ("zstd", size)
            assert pointer.size_bytes < 1000
            assert await client.get("value") == value
            with pytest.raises(InvalidArgument, match="auto"):
                await client.put("value", value, compress="gzip")
            lie = replace(pointer, content_bytes=size - 1)
            signed = sign_open_pointer(node.signing.identity, node.dht.config.network_id, b"lie", lie)
            await node.dht.put_value(b"lie", signed)
            with pytest.raises(DecompressionFailed):
                await client.get("lie", to=tmp_path / "out")
            assert not [name for name in os.listdir(tmp_path) if "out" in name], "no part of it is left"


async def test_a_client_that_stops_in_the_middle_of_a_put_keeps_no_other_from_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "BIG_PUTS_AT_ONCE", 1)
    monkeypatch.setattr(limits, "CONTROL_PUT_SILENCE_S", 0.5)
    large = os.urandom(300_000)
    with trio.fail_after(30):
        async with (
            open_nodes(1) as (node,),
            open_lab(cast("Any", node), tmp_path) as lab,
            lab.client() as silent,
        ):
            await silent.ask_prime(put_begin=pb.PutBegin(key=b"silent"))
            await silent.ask_prime(put_chunk=pb.PutChunk(data=large))
            async with AsyncClient(str(lab.addr)) as client:
                with (tmp_path / "value").open("w+b") as file:
                    file.write(large)
                    file.seek(0)
                    await client.put("other", file)
                assert await client.get("other") == large
            response = await silent.response()
            assert (response.error.code, "sent nothing" in response.error.msg) == ("malformed_request", True)
            assert await silent.frame() is None
