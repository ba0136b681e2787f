"""Store a model with its metadata, and load both on another node: by plain keys, then as a signed version."""

import json
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import trio

from primedht import Node, open_node
from primedht.tensors.arrays import load_tensors, save_tensors
from primedht.tensors.manifest import ModelMetadata


async def store_model(node: Node, model_id: str, model_data: bytes, metadata: ModelMetadata) -> None:
    """Put a model of any size, and its metadata beside it."""
    await node.put(f"model:{model_id}", model_data)
    await node.put(f"meta:{model_id}", json.dumps(asdict(metadata)).encode())


async def load_model(node: Node, model_id: str) -> tuple[bytes, ModelMetadata] | None:
    """Return a model and its metadata, or None if one of them is missing."""
    model_data = await node.get(f"model:{model_id}")
    meta_data = await node.get(f"meta:{model_id}")
    if model_data is None or meta_data is None:
        return None
    return model_data, ModelMetadata(**json.loads(meta_data))


async def main() -> None:
    weights = {"layer.weight": np.random.default_rng(1).standard_normal((512, 512), np.float32)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        save_tensors(path, weights)
        async with (
            open_node() as first,
            open_node(bootstrap=first.addrs[:1]) as second,
        ):
            metadata = ModelMetadata(
                id="resnet", version=1, architecture="ResNet", parameters_count=512 * 512
            )
            await store_model(first, "resnet", path.read_bytes(), metadata)
            loaded = await load_model(second, "resnet")
            assert loaded == (path.read_bytes(), metadata)
            print(f"Loaded {len(loaded[0])} bytes of {loaded[1].architecture}")

            # Anybody may write a plain key. A version under a key's name is its owner's, and shares blocks.
            await first.models.push(path, "me/resnet", architecture="ResNet")
            found = await second.models.pull(f"{first.peer_id}/resnet", Path(folder) / "pulled")
            tensors = load_tensors(Path(folder) / "pulled" / "model.safetensors")
            assert np.array_equal(tensors["layer.weight"], weights["layer.weight"])
            print(f"Pulled {found.name}: {found.manifest.model.parameters_count} parameters")


if __name__ == "__main__":
    trio.run(main)
