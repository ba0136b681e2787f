"""Store a model with its metadata, and load both on another node: by plain keys, then as a signed version.

By itself it starts two nodes. To use two daemons of a cluster that runs, name their data directories:

    python examples/models.py DATA_DIR DATA_DIR
"""

import json
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
import trio

from primedht import Node, open_node
from primedht.client import AsyncClient
from primedht.tensors.arrays import load_tensors, save_tensors
from primedht.tensors.manifest import ModelMetadata


async def store_model(
    dht: Node | AsyncClient, model_id: str, model_data: bytes, metadata: ModelMetadata
) -> None:
    """Put a model of any size, and its metadata beside it."""
    await dht.put(f"model:{model_id}", model_data)
    await dht.put(f"meta:{model_id}", json.dumps(asdict(metadata)).encode())


async def load_model(dht: Node | AsyncClient, model_id: str) -> tuple[bytes, ModelMetadata] | None:
    """Return a model and its metadata, or None if one of them is missing."""
    model_data = await dht.get(f"model:{model_id}")
    meta_data = await dht.get(f"meta:{model_id}")
    if model_data is None or meta_data is None:
        return None
    return model_data, ModelMetadata(**json.loads(meta_data))


@asynccontextmanager
async def open_peers(data_dirs: list[str]) -> AsyncIterator[tuple[Node | AsyncClient, Node | AsyncClient]]:
    if data_dirs:
        async with AsyncClient(data_dir=data_dirs[0]) as a, AsyncClient(data_dir=data_dirs[1]) as b:
            yield a, b
    else:
        async with open_node() as first, open_node(bootstrap=first.addrs[:1]) as second:
            yield first, second


async def main(data_dirs: list[str]) -> None:
    weights = {"layer.weight": np.random.default_rng(1).standard_normal((512, 512), np.float32)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        save_tensors(path, weights)
        async with open_peers(data_dirs) as (first, second):
            metadata = ModelMetadata(
                id="resnet", version=1, architecture="ResNet", parameters_count=512 * 512
            )
            await store_model(first, "resnet", path.read_bytes(), metadata)
            loaded = await load_model(second, "resnet")
            assert loaded == (path.read_bytes(), metadata)
            print(f"Loaded {len(loaded[0])} bytes of {loaded[1].architecture}")

            # Anybody may write a plain key. A version under a key's name is its owner's, and shares blocks.
            await first.models.push(path, "me/resnet", architecture="ResNet")
            me = first.peer_id if isinstance(first, Node) else (await first.identify()).id
            found = await second.models.pull(f"{me}/resnet", Path(folder) / "pulled")
            tensors = load_tensors(Path(folder) / "pulled" / "model.safetensors")
            assert np.array_equal(tensors["layer.weight"], weights["layer.weight"])
            print(f"Pulled {found.name}: {found.manifest.model.parameters_count} parameters")


if __name__ == "__main__":
    trio.run(main, sys.argv[1:])
