"""Nodes on loopback, and models small enough for tests."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import trio

from primedht.assembly import open_node
from primedht.blocks.block import make_block
from primedht.cids import DAG_CBOR
from primedht.config import Config, NetworkConfig, NodeConfig
from primedht.ml.models import FoundModel
from primedht.ml.versions import Version, Versions
from primedht.node import Node
from primedht.tensors.arrays import save_tensors
from primedht.tensors.manifest import Manifest, ModelFile

CONFIG = {"architectures": ["LlamaForCausalLM"], "hidden_size": 64}


@asynccontextmanager
async def open_nodes(
    count: int, *, data_dir: Path | None = None, psk_file: Path | None = None
) -> AsyncIterator[list[Node]]:
    """Open nodes that know each other. data_dir: of the first one; the others are in memory."""
    config = Config(
        node=NodeConfig(listen=("/ip4/127.0.0.1/tcp/0",), mdns=False),
        network=NetworkConfig(name="models", psk_file=psk_file),
    )
    async with AsyncExitStack() as stack:
        nodes: list[Node] = []
        for index in range(count):
            bootstrap = [nodes[0].addrs[0]] if nodes else []
            opened = open_node(config, data_dir=None if index else data_dir, bootstrap=bootstrap)
            nodes.append(await stack.enter_async_context(opened))
        with trio.fail_after(60):
            for node in nodes:
                while len(node.dht.routing_table) < count - 1:  # noqa: ASYNC110
                    await trio.sleep(0.02)
        yield nodes


def layers(count: int, *, elements: int = 4096, seed: int = 0) -> dict[str, np.ndarray[Any, Any]]:
    """Return tensors of random numbers, which no two models share."""
    rng = np.random.default_rng(seed)
    return {f"model.layers.{i}.weight": rng.standard_normal(elements, np.float32) for i in range(count)}


def write_model(
    folder: Path, shards: Mapping[str, Mapping[str, np.ndarray[Any, Any]]], **weight_map: str
) -> Path:
    """Write a model as Hugging Face has them; weight_map: entries of the index besides the true ones."""
    folder.mkdir(parents=True, exist_ok=True)
    places = {name: shard for shard, tensors in shards.items() for name in tensors}
    for shard, tensors in shards.items():
        save_tensors(folder / shard, tensors)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places | weight_map}))
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "tokenizer").mkdir(exist_ok=True)
    (folder / "tokenizer" / "merges.txt").write_text("a b\n")
    (folder / "empty.txt").touch()
    return folder


def forgeries(true: Manifest) -> dict[str, Manifest]:
    """Return manifests that say something else than the files of `true` do, by what is wrong."""
    first, *rest = true.files
    elsewhere = ModelFile("../../etc/passwd", first.size_bytes, first.cid)
    return {
        "sizes": replace(true, files=(replace(first, size_bytes=first.size_bytes + 1), *rest)),
        "terabyte": replace(true, files=(replace(first, size_bytes=1 << 40), *rest)),
        "missing": replace(true, files=tuple(rest)),
        "traversal": replace(true, files=tuple(sorted((elsewhere, *rest), key=lambda file: file.path))),
        "another model": replace(true, model=replace(true.model, id="other")),
        "another version": replace(true, model=replace(true.model, version=2)),
    }


async def publish_forged(
    node: Node, found: FoundModel, manifest: Manifest, *, size: int | None = None
) -> None:
    """Put another manifest in the place of one of the node's own, properly signed."""
    signed = manifest.signed(node.models._owners.signer(node.peer_id))
    block = make_block(signed.encode(), DAG_CBOR)
    await node.blocks.put_block(block)
    version = Version(1, block.cid, 1, signed.size_bytes if size is None else size)
    await node.put(found.name.key, Versions(1, (version,)).encode())


def content(folder: Path) -> dict[str, bytes]:
    """Return all files below a directory."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
