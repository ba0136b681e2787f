"""A trainer that stores its checkpoints in the DHT, and another that goes on from the last one, exactly.

By itself it starts two nodes. To use two daemons of a cluster that runs, name their data directories:

    python examples/trainer.py DATA_DIR DATA_DIR
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import trio

from primedht import Node, open_node
from primedht.client import AsyncClient
from primedht.tensors.state_files import open_state_file, read_state


class Trainer:
    """Fits a line by gradient descent with momentum."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.epoch = 0
        self.model = {"weight": np.zeros(8, np.float32)}
        self.optimizer: dict[str, Any] = {"state": {0: np.zeros(8, np.float32)}, "betas": (0.9,), "lr": 0.05}

    def train_epoch(self) -> None:
        weight, momentum = self.model["weight"], self.optimizer["state"][0]
        inputs = self.rng.standard_normal((64, 8), np.float32)
        gradient = inputs.T @ (inputs @ weight - inputs.sum(axis=1)) / len(inputs)
        self.optimizer["state"][0] = self.optimizer["betas"][0] * momentum + gradient
        self.model["weight"] = weight - self.optimizer["lr"] * self.optimizer["state"][0]
        self.epoch += 1

    def state(self) -> dict[str, Any]:
        """Return all that training goes on from."""
        rng = self.rng.bit_generator.state
        return {"epoch": self.epoch, "model": self.model, "optimizer": self.optimizer, "rng": rng}

    def restore(self, state: dict[str, Any]) -> None:
        self.epoch, self.model, self.optimizer = state["epoch"], state["model"], state["optimizer"]
        self.rng.bit_generator.state = state["rng"]


async def save_checkpoint(dht: Node | AsyncClient, trainer: Trainer) -> None:
    """Put a checkpoint under a key that anybody may write."""
    with open_state_file(trainer.state()) as file:
        await dht.put(f"checkpoint_epoch_{trainer.epoch}", file.read())


async def load_checkpoint(dht: Node | AsyncClient, epoch: int) -> Any:
    data = await dht.get(f"checkpoint_epoch_{epoch}")
    assert data is not None
    return read_state(data)


@asynccontextmanager
async def open_peers(data_dirs: list[str]) -> AsyncIterator[tuple[Node | AsyncClient, Node | AsyncClient]]:
    if data_dirs:
        async with AsyncClient(data_dir=data_dirs[0]) as a, AsyncClient(data_dir=data_dirs[1]) as b:
            yield a, b
    else:
        async with open_node() as first, open_node(bootstrap=first.addrs[:1]) as second:
            yield first, second


async def main(data_dirs: list[str]) -> None:
    trainer, by_key, by_run = Trainer(seed=1), Trainer(seed=2), Trainer(seed=3)
    async with open_peers(data_dirs) as (first, second):
        me = first.peer_id if isinstance(first, Node) else (await first.identify()).id
        for _ in range(10):
            trainer.train_epoch()
            # The run keeps the last three steps. Only the owner of its key can publish any.
            job = await first.checkpoints.publish("line", trainer.epoch, trainer.state())
        await job.wait()
        await save_checkpoint(first, trainer)
        trainer.train_epoch()

        by_key.restore(await load_checkpoint(second, 10))
        last = await second.checkpoints.latest(f"{me}/line")
        assert last is not None
        by_run.restore(await second.checkpoints.load(f"{me}/line", last.step))
        for resumed in (by_key, by_run):
            resumed.train_epoch()
            assert np.array_equal(resumed.model["weight"], trainer.model["weight"])
        print(f"Resumed at epoch {last.step}; epoch {by_run.epoch} is the same bit for bit")


if __name__ == "__main__":
    trio.run(main, sys.argv[1:])
