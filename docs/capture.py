"""Writes docs/captures: what commands show on terminals of 80 and 140 columns, with and without colour.

`make captures` runs it: real commands on a pseudo-terminal, against a small cluster of daemons with
buckets of 4, so that lookups take more than one hop.
"""

from __future__ import annotations

import fcntl
import io
import os
import pty
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Sequence
from pathlib import Path

import trio
from rich.console import Console
from rich.text import Text

from primedht.results import Trace

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "captures"
COLUMNS = (80, 140)
COMMANDS: dict[str, Sequence[str]] = {
    "status": ["status"],
    "trace": ["trace", "get", "model_weights_v1"],  # `main` takes the key of the longest lookup
    "trace-absent": ["trace", "get", "absent"],
    "peers": ["peers"],
    "doctor": ["doctor"],
}
_ROWS = 50
_NODES = 14
_CID = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"


def capture(
    arguments: Sequence[str], *, columns: int, colour: bool, environment: dict[str, str] | None = None
) -> str:
    """Return what a command line writes to a terminal so wide, escapes included, and then its errors."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PRIMEDHT_")}
    for name in ("COLUMNS", "LINES", "NO_COLOR"):
        kept.pop(name, None)
    kept |= {"TERM": "xterm-256color"} | ({} if colour else {"NO_COLOR": "1"}) | (environment or {})
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "primedht.cli", *arguments],
        stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.PIPE, env=kept,
    )  # fmt: skip
    os.close(theirs)
    seen = b""
    try:
        while data := os.read(ours, 65536):
            seen += data
    except OSError:  # Linux: the other side was closed
        pass
    finally:
        os.close(ours)
    _, errors = process.communicate()
    return (seen + errors).decode("utf-8").replace("\r\n", "\n")


def to_svg(shown: str, *, name: str, title: str, columns: int) -> str:
    """Return what a terminal showed as a picture. name: tells it from others, in letters and dashes."""
    console = Console(record=True, width=columns, file=io.StringIO(), highlight=False)
    console.print(Text.from_ansi(shown))
    return console.export_svg(title=title, unique_id=f"{name}-{columns}")


def write_captures(folder: Path, environment: dict[str, str]) -> None:
    """Write each command's captures: with colour as a picture, without as text."""
    folder.mkdir(exist_ok=True)
    for name, arguments in COMMANDS.items():
        title = f"primedht {' '.join(arguments)}"
        for columns in COLUMNS:
            coloured = capture(arguments, columns=columns, colour=True, environment=environment)
            plain = capture(arguments, columns=columns, colour=False, environment=environment)
            picture = to_svg(coloured, name=name, title=title, columns=columns)
            (folder / f"{name}-{columns}.svg").write_text(picture, "utf-8")
            # Without colour there is still bold and dim.
            lines = [f"$ {title}", *(line.rstrip() for line in Text.from_ansi(plain).plain.splitlines())]
            (folder / f"{name}-{columns}.txt").write_text("\n".join(lines) + "\n", "utf-8")


def _interest(trace: Trace | None) -> tuple[int, int]:
    return (0, 0) if trace is None else (trace.hops, len(trace.asked))


async def main() -> None:
    sys.path.insert(0, str(ROOT / "tests" / "support"))
    from cluster import open_cluster, until

    with tempfile.TemporaryDirectory(prefix="primedht-captures-") as folder:
        settings = {"k_bucket_size": 4, "storage__durable": "false"}
        async with open_cluster(Path(folder), 0, network="my-cluster", **settings) as cluster:
            await cluster.start_apart(_NODES)
            writer, asker, *_ = cluster.nodes

            async def filled() -> bool:
                return all([len(await node.table_peers()) >= 4 for node in cluster.nodes])

            await until(filled, timeout_s=120, what="tables fill")
            keys = [f"gradient/{number}" for number in range(16)]
            for key in keys:
                await writer.put(key, bytes(5000))
            await asker.put("learning_rate", b"0.001")
            environment = {"PRIMEDHT_NODE_DATA_DIR": str(asker.data_dir)}
            for words in (["provide", _CID], ["name", "publish", f"/ipfs/{_CID}"]):
                await trio.to_thread.run_sync(
                    lambda words=words: capture(words, columns=80, colour=False, environment=environment)
                )
            traces: dict[str, Trace | None] = {}
            for key in [*keys, *keys]:  # the first get leaves copies on the way
                traces[key] = (await asker.get_record(key, want_trace=True)).trace
            COMMANDS["trace"] = ["trace", "get", max(traces, key=lambda key: _interest(traces[key]))]
            await trio.to_thread.run_sync(write_captures, FOLDER, environment)


if __name__ == "__main__":
    trio.run(main)
