"""Models between real processes, at any size: what a kill costs, how much memory and disk, and who helped."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from processes import Daemon, clean_environment, daemon, wait_until

from primedht.client import Client

_PIECE_BYTES = 8 << 20
LAYERS = 24


def write_model(folder: Path, size_bytes: int) -> Path:
    """Write a model of 24 layers of noise, about `size_bytes` in all."""
    folder.mkdir()
    layer_bytes = size_bytes // LAYERS // 4 * 4
    table = {
        f"layers.{n}.weight": {
            "dtype": "F32",
            "shape": [layer_bytes // 4],
            "data_offsets": [n * layer_bytes, (n + 1) * layer_bytes],
        }
        for n in range(LAYERS)
    }
    header = json.dumps(table).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        left = LAYERS * layer_bytes
        while left:
            left -= file.write(os.urandom(min(left, _PIECE_BYTES)))
    (folder / "config.json").write_text('{"architectures": ["Noise"]}')
    return folder


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file below a directory."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                found[str(path.relative_to(folder))] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def disk_bytes(*folders: Path) -> int:
    """Return what is allocated to all files below."""
    return sum(path.lstat().st_blocks * 512 for folder in folders for path in folder.rglob("*"))


def blocks_of(node: Daemon) -> dict[str, Any]:
    """Return what the daemon says of its blocks."""
    blocks: dict[str, Any] = Client(data_dir=node.data_dir).status()["blocks"]
    return blocks


def here_bytes(node: Daemon) -> int:
    """Return how many bytes of blocks it has, in files of its user too."""
    blocks = blocks_of(node)
    return int(blocks["bytes"]) + int(blocks["referenced_bytes"])


def sent_bytes(nodes: Sequence[Daemon]) -> int:
    """Return how many bytes of blocks they have sent."""
    return sum(int(blocks_of(node)["exchange"]["bytes_sent"]) for node in nodes)


@contextmanager
def pulling(node: Daemon, name: str, to: Path, *options: object) -> Iterator[subprocess.Popen[bytes]]:
    """Run `primedht model pull` beside the block."""
    command = [*(sys.executable, "-m", "primedht.cli", "model", "pull", name, "-o", str(to))]
    process = subprocess.Popen(
        [*command, "--data-dir", str(node.data_dir), *map(str, options)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean_environment(),
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def pull_across_a_kill(work: Path, size_bytes: int) -> dict[str, float]:
    """Kill -9 the puller at 60 %, and pull again; return shares of the model's bytes.

    again: what was sent twice. Checks that the bytes are right and that nothing else is left.
    """
    folder = write_model(work / "m", size_bytes)
    with daemon(work / "a") as a:
        assert a.call("model", "push", folder, "--name", "me/m", "--in-place").returncode == 0
        total = here_bytes(a)
        name, out = f"{a.peer_id}/m", work / "out"
        with daemon(work / "b", bootstrap=[a.addr]) as b:
            wait_until(lambda: b.call("ping", a.peer_id).returncode == 0, what="b knows a")
            with pulling(b, name, out) as process:
                while here_bytes(b) < 0.6 * total:
                    assert process.poll() is None, process.communicate()
                    time.sleep(0.002)
                b.process.send_signal(signal.SIGKILL)
                process.wait()
        with daemon(work / "b", bootstrap=[a.addr]) as b:
            kept = here_bytes(b)
            wait_until(lambda: b.call("ping", a.peer_id).returncode == 0, what="b knows a")
            with pulling(b, name, out) as process:
                _, error = process.communicate(timeout=1200)
                assert process.returncode == 0, error
            sent = sent_bytes([a])
            assert digests(out) == digests(folder)
            assert blocks_of(b)["referenced_bytes"] > 0.95 * total
            assert [each.name for each in work.iterdir() if each.name.startswith(".primedht")] == []
    return {"kept": kept / total, "again": (sent - total) / total}
