"""Models between real processes, at any size: what a kill costs, how much memory and disk, and who helped."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from processes import Daemon, clean_environment, daemon, wait_until

from primedht.client import Client

_PIECE_BYTES = 8 << 20
_LIAR = str(Path(__file__).with_name("liar.py"))
LAYERS = 24
LINKS_MB_PER_S = (20.0, 20.0, 2.0)


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
                    time.sleep(0.02)
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


@contextmanager
def anonymous_memory(node: Daemon) -> Iterator[list[int]]:
    """Yield a list that afterwards has the most memory of its own (RssAnon, bytes) that the daemon took."""
    most = 0
    over = threading.Event()
    status = Path(f"/proc/{node.process.pid}/status")

    def watch() -> None:
        nonlocal most
        while not over.wait(0.02):
            line = next(line for line in status.read_text().splitlines() if line.startswith("RssAnon"))
            most = max(most, int(line.split()[1]) << 10)

    watcher = threading.Thread(target=watch)
    watcher.start()
    found: list[int] = []
    try:
        yield found
    finally:
        over.set()
        watcher.join()
        found.append(most)


def push_and_pull(work: Path, size_bytes: int, *, in_place: bool) -> dict[str, float]:
    """Return the most memory that each daemon took, in MiB, and its disk space by the model's bytes."""
    folder, out = write_model(work / "m", size_bytes), work / "out"
    with daemon(work / "a") as a, daemon(work / "b", bootstrap=[a.addr]) as b:
        wait_until(lambda: b.call("ping", a.peer_id).returncode == 0, what="b knows a")
        daemons = Client(data_dir=a.data_dir), Client(data_dir=b.data_dir)
        with anonymous_memory(a) as push_bytes:
            started = time.monotonic()
            daemons[0].models.push(folder, "me/m", in_place=in_place)
            push_s = time.monotonic() - started
        with anonymous_memory(a) as serve_bytes, anonymous_memory(b) as pull_bytes:
            started = time.monotonic()
            daemons[1].models.pull(f"{a.peer_id}/m", out)
            pull_s = time.monotonic() - started
        assert digests(out) == digests(folder)
        mb = size_bytes / 1e6
        return {
            "push_rss_anon_mib": push_bytes[0] / (1 << 20),
            "serve_rss_anon_mib": serve_bytes[0] / (1 << 20),
            "pull_rss_anon_mib": pull_bytes[0] / (1 << 20),
            "push_disk": disk_bytes(a.data_dir, folder) / size_bytes,
            "pull_disk": disk_bytes(b.data_dir, out) / size_bytes,
            "push_mb_per_s": mb / push_s,
            "pull_mb_per_s": mb / pull_s,
        }


def pull_from_three_links(work: Path, size_bytes: int, *, liar: int, killed: int) -> dict[str, float]:
    """Pull from three providers on `LINKS_MB_PER_S`, of which `liar` lies and `killed` is killed at 40 %.

    Returns the rate by what the honest links can carry, the killed one's until then. Checks the bytes, and
    that the trace says of these two, and of nobody else, that they are gone and why.
    """
    folder, out = write_model(work / "m", size_bytes), work / "out"
    with ExitStack() as stack:
        with daemon(work / "pusher") as pusher:
            name = f"{pusher.peer_id}/m"
            assert pusher.call("model", "push", folder, "--name", "me/m", "--in-place").returncode == 0
            providers = [
                stack.enter_context(
                    daemon(
                        work / f"provider-{number}",
                        bootstrap=[pusher.addr],
                        program=(_LIAR,) if number == liar else ("-m", "primedht.cli"),
                        PRIMEDHT_LIMITS_UPLOAD_RATE=str(int(mb_per_s * 1e6)),
                    )
                )
                for number, mb_per_s in enumerate(LINKS_MB_PER_S)
            ]
            for provider in providers:
                Client(data_dir=provider.data_dir).models.fetch(name)
        puller = stack.enter_context(
            daemon(work / "puller", bootstrap=[provider.addr for provider in providers])
        )
        wait_until(lambda: puller.call("model", "info", name).returncode == 0, what="the model is found")
        started = time.monotonic()
        with pulling(puller, name, out, "--trace", "--json") as process:
            while here_bytes(puller) < 0.4 * size_bytes:
                assert process.poll() is None, process.communicate()
                time.sleep(0.01)
            providers[killed].process.kill()
            killed_s = time.monotonic() - started
            printed, error = process.communicate(timeout=1200)
            took_s = time.monotonic() - started
            assert process.returncode == 0, error
        assert digests(out) == digests(folder)
        gone = {share["peer"]: share["gone"] for share in json.loads(printed)["peers"] if share["gone"]}
        assert set(gone) == {providers[liar].peer_id, providers[killed].peer_id}, gone
        assert "other bytes" in gone[providers[liar].peer_id]
        honest = sum(rate for number, rate in enumerate(LINKS_MB_PER_S) if number != liar)
        carried_mb = honest * killed_s + (honest - LINKS_MB_PER_S[killed]) * (took_s - killed_s)
        return {"of_the_honest_links": size_bytes / 1e6 / carried_mb, "mb_per_s": size_bytes / 1e6 / took_s}
