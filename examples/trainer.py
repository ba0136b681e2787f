"""A trainer that stores checkpoints in the DHT, and another that goes on from one, exactly."""

import io
from typing import Any

import numpy as np
import trio

from primedht import Node, open_node
from primedht.tensors.arrays import read_tensors, write_tensors
from primedht.tensors.state import flatten, unflatten


class Trainer:
    """Fits a line by gradient descent with momentum."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.state: dict[str, Any] = {
            "epoch": 0,
            "model": {"weight": np.zeros(8, np.float32)},
            "optimizer": {"momentum": np.zeros(8, np.float32), "betas": (0.9,), "lr": 0.05},
        }

    def train_epoch(self) -> None:
        model, optimizer = self.state["model"], self.state["optimizer"]
        inputs = self.rng.standard_normal((64, 8), np.float32)
        error = inputs @ model["weight"] - inputs.sum(axis=1)
        gradient = inputs.T @ error / len(inputs)
        optimizer["momentum"] = optimizer["betas"][0] * optimizer["momentum"] + gradient
        model["weight"] = model["weight"] - optimizer["lr"] * optimizer["momentum"]
        self.state["epoch"] += 1

    def checkpoint(self) -> bytes:
        """Return all that training goes on from: a safetensors file, without pickle."""
        tree, tensors = flatten(self.state | {"rng": self.rng.bit_generator.state})
        file = io.BytesIO()
        write_tensors(file, tensors, {"state": tree.decode()})
        return file.getvalue()

    def restore(self, data: bytes) -> None:
        metadata, tensors = read_tensors(data)
        self.state = unflatten(metadata["state"].encode(), tensors)
        self.rng.bit_generator.state = self.state.pop("rng")


async def save_checkpoint(node: Node, trainer: Trainer) -> None:
    await node.put(f"checkpoint_epoch_{trainer.state['epoch']}", trainer.checkpoint())


async def main() -> None:
    trainer = Trainer(seed=1)
    async with (
        open_node() as first,
        open_node(bootstrap=first.addrs[:1]) as second,
    ):
        for _ in range(10):
            trainer.train_epoch()
        await save_checkpoint(first, trainer)
        trainer.train_epoch()

        resumed = Trainer(seed=2)
        data = await second.get("checkpoint_epoch_10")
        assert data is not None
        resumed.restore(data)
        resumed.train_epoch()
        assert np.array_equal(resumed.state["model"]["weight"], trainer.state["model"]["weight"])
        print(f"Resumed at epoch 10; epoch {resumed.state['epoch']} is the same bit for bit")


if __name__ == "__main__":
    trio.run(main)
