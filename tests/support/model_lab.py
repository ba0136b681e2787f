"""Nodes on loopback, and models small enough for tests."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import trio

from primedht.config import Config, NetworkConfig, NodeConfig
from primedht.node import Node, open_node
from primedht.tensors.arrays import save_tensors

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


def content(folder: Path) -> dict[str, bytes]:
    """Return all files below a directory."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
