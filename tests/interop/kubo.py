"""A kubo daemon behind the face of the other peers, as far as blocks need it: built by `peers/build.sh kubo`.

It runs with kubo's own profile for tests: loopback alone, no bootstrap peers, no mDNS, and its LAN DHT,
`/ipfs/lan/kad/1.0.0`, takes loopback addresses. Commands go through the `ipfs` program.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from peers.driver import HERE, PeerError, Reply

from primedht.cids import Cid

PROGRAM = HERE / ".build/ipfs"
LAN = "/ipfs/lan"
START_S = 60
_ADD = {
    "ipfs-v0": ("--cid-version=0",),
    "ipfs-v1": ("--cid-version=1",),
    "unixfs-v1-2025": ("--cid-version=1", "--chunker=size-1048576", "--max-file-links=1024"),
}


class Kubo:
    """Make one with `open_kubo`; `call` takes the ops of peers/README.md that a test of blocks needs."""

    kind = "kubo"

    def __init__(self, repo: Path, environ: dict[str, str], process_id: int) -> None:
        self._repo = repo
        self._environ = environ
        self.pid = process_id
        self.peer_id = self.addr = ""

    async def call(self, op: str, *, timeout_s: float = 30, **fields: Any) -> Reply:
        with trio.fail_after(timeout_s):
            return await getattr(self, f"_{op}")(**fields) or {}

    async def ipfs(self, *arguments: str) -> bytes:
        """Run a command of kubo and return what it prints."""
        done = await trio.run_process(
            [PROGRAM, *arguments], env=self._environ, capture_stdout=True, capture_stderr=True, check=False
        )
        if done.returncode:
            raise PeerError(f"ipfs {' '.join(arguments)}: {done.stderr.decode(errors='replace')}")
        return bytes(done.stdout)

    async def _connect(self, addr: str) -> None:
        await self.ipfs("swarm", "connect", addr)

    async def _identify(self, peer: str) -> None:
        while peer not in (await self.ipfs("swarm", "peers")).decode():  # noqa: ASYNC110 (another process)
            await trio.sleep(0.05)

    async def _peers(self) -> Reply:
        table = (await self.ipfs("stats", "dht", "lan")).decode()
        return {"table": [word for word in table.split() if word.startswith("12D3Koo")]}

    async def _add_file(self, path: str, profile: str) -> Reply:
        cid = await self.ipfs("add", "--quieter", "--pin=false", *_ADD[profile], path)
        return {"cid": bytes(Cid.from_text(cid.decode().strip()))}

    async def _provide(self, cid: bytes) -> None:
        await self.ipfs("routing", "provide", str(Cid.from_bytes(cid)))

    async def _fetch(self, cid: bytes) -> Reply:
        """Get a whole DAG, then read the file."""
        root = str(Cid.from_bytes(cid))
        started = time.monotonic()
        await self.ipfs("pin", "add", root)
        took_s = time.monotonic() - started
        output = self._repo / "fetched"
        await self.ipfs("get", "--output", str(output), root)
        with output.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"seconds": took_s, "bytes_n": output.stat().st_size, "sha256": digest}


@asynccontextmanager
async def open_kubo(repo: Path) -> AsyncIterator[Kubo]:
    """Run a daemon whose repository is made at `repo`."""
    environ = os.environ | {"IPFS_PATH": str(repo), "IPFS_TELEMETRY": "off"}
    await trio.run_process([PROGRAM, "init", "--profile=test"], env=environ, capture_stdout=True)
    with (repo / "daemon.log").open("w+b") as log:
        process = await trio.lowlevel.open_process(
            [PROGRAM, "daemon"], env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        try:
            with trio.move_on_after(START_S):
                while "Daemon is ready" not in _text(repo) and process.poll() is None:  # noqa: ASYNC110
                    await trio.sleep(0.05)
            if "Daemon is ready" not in _text(repo):
                raise PeerError(f"kubo did not start:\n{_text(repo)}")
            kubo = Kubo(repo, environ, process.pid)
            identity = json.loads(await kubo.ipfs("id"))
            kubo.peer_id, kubo.addr = identity["ID"], identity["Addresses"][0]
            yield kubo
        except Exception as error:
            error.add_note(f"kubo's log:\n{_text(repo)[-4000:]}")
            raise
        finally:
            process.terminate()
            with trio.CancelScope(shield=True), trio.move_on_after(10) as patience:
                await process.wait()
            if patience.cancelled_caught:
                process.kill()


def _text(repo: Path) -> str:
    return (repo / "daemon.log").read_text("utf-8", "replace")
