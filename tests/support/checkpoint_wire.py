"""What the second step of a run costs on the wire between two processes, at any size."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from counting_proxy import CountingProxy, counting_proxy
from model_lab import layers
from processes import daemon, wait_until

from primedht.client import Client

_LAYERS = 24
_CHANGED = "model.layers.7.weight"


def publish_and_load_two_steps(work: Path, size_bytes: int) -> dict[str, float]:
    """Publish a state of so many bytes, and again with one layer of 24 changed; load each elsewhere.

    Returns what the nodes sent each other over TCP, in bytes, and how long it took. Checks what is loaded.
    """
    model = layers(_LAYERS, elements=size_bytes // _LAYERS // 4)
    with ExitStack() as stack:
        proxies = [stack.enter_context(counting_proxy()) for _ in range(2)]
        addrs = [f"/ip4/127.0.0.1/tcp/{proxy.port}" for proxy in proxies]
        a = stack.enter_context(
            daemon(work / "a", *_listen(proxies[0]), PRIMEDHT_NODE_ANNOUNCE=addrs[0]),
        )
        b = stack.enter_context(
            daemon(
                *(work / "b", *_listen(proxies[1])),
                bootstrap=[f"{addrs[0]}/p2p/{a.peer_id}"],
                PRIMEDHT_NODE_ANNOUNCE=addrs[1],
            )
        )
        wait_until(lambda: b.call("ping", a.peer_id).returncode == 0, what="b knows a")
        trainer = stack.enter_context(Client(data_dir=a.data_dir))
        reader = stack.enter_context(Client(data_dir=b.data_dir))
        run = f"{a.peer_id}/run"

        def move(step: int, model: dict[str, Any]) -> tuple[int, float]:
            before, started = sum(proxy.bytes for proxy in proxies), time.monotonic()
            trainer.checkpoints.publish("run", step, {"step": step, "model": model}).wait()
            loaded = reader.checkpoints.load(run)
            took_s = time.monotonic() - started
            assert loaded["step"] == step
            assert loaded["model"].keys() == model.keys()
            for name, weight in model.items():
                np.testing.assert_array_equal(loaded["model"][name], weight)
            return sum(proxy.bytes for proxy in proxies) - before, took_s

        first_bytes, first_s = move(1, model)
        model[_CHANGED] = -model[_CHANGED]
        second_bytes, second_s = move(2, model)
    return {
        "state_bytes": sum(weight.nbytes for weight in model.values()),
        "first_bytes": first_bytes,
        "first_s": first_s,
        "second_bytes": second_bytes,
        "second_s": second_s,
    }


def _listen(proxy: CountingProxy) -> tuple[str, str]:
    """Return the arguments that make a daemon listen where the proxy leads."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        proxy.target_port = free.getsockname()[1]
    return "--listen", f"/ip4/127.0.0.1/tcp/{proxy.target_port}"
