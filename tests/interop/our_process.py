"""Our node as a process of its own that takes the peers' ops as JSON lines (peers/README.md).

python our_process.py --prefix /ipfs --data-dir DIR
"""

from __future__ import annotations

import argparse
import base64
import json
import logging
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import structlog
import trio

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from ours import OurPeer, open_ours
from peers import Peer
from peers.driver import BINARY_FIELDS, run_peer

from primedht.errors import PrimeDhtError


@asynccontextmanager
async def open_our_process(
    data_dir: Path, *, prefix: str, options: Sequence[str] = ()
) -> AsyncIterator[Peer]:
    """Run it for the block. options: such as `--compression=zstd`."""
    command = [sys.executable, __file__, f"--prefix={prefix}", f"--data-dir={data_dir}", *options]
    async with run_peer("ours", command) as peer:
        yield peer


def _say(message: dict[str, Any]) -> None:
    def encode(value: bytes) -> str:
        return base64.b64encode(value).decode()

    sys.stdout.write(json.dumps(message, default=encode) + "\n")
    sys.stdout.flush()


async def _answer(peer: OurPeer, request: dict[str, Any]) -> None:
    id, op, timeout_ms = request.pop("id"), request.pop("op"), request.pop("timeout_ms")
    fields = {
        name: base64.b64decode(value) if name in BINARY_FIELDS | {"multihash"} else value
        for name, value in request.items()
    }
    try:
        reply = await peer.call(op, timeout_s=timeout_ms / 1000, **fields)
    except (PrimeDhtError, trio.TooSlowError) as error:
        _say({"id": id, "ok": False, "error": f"{type(error).__name__}: {error}"})
    else:
        _say({**reply, "id": id, "ok": True})


async def _serve(options: dict[str, Any]) -> None:
    async with open_ours(**options) as peer, trio.open_nursery() as nursery:
        _say({"event": "ready", "peer_id": peer.peer_id, "addrs": peer.node.addrs})
        async for line in trio.wrap_file(sys.stdin):
            nursery.start_soon(_answer, peer, json.loads(line))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--compression", choices=["none", "zstd"], default="none")
    parser.add_argument("--upload-rate", type=int, help="bytes a second")
    arguments = parser.parse_args()
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    trio.run(_serve, vars(arguments))


if __name__ == "__main__":
    main()
