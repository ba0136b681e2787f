"""What the benchmarks share: the machine's description, CPU time of processes, and the load generator.

The generator is the go peer of tests/interop/peers, one for every kind of server, so that it is never
what is compared: `gather` surrounds a server with a crowd of small DHT servers, which it takes into
its routing table, and `load`, `bulk` and `dial` ask it for as much as it can do.
"""

from __future__ import annotations

import json
import os
import platform
import re
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
PEERS = REPOSITORY / "tests/interop/peers"
sys.path[:0] = [str(REPOSITORY / "tests/interop"), str(REPOSITORY / "tests/support")]

from peers import Peer, available, build_peers, open_peer  # noqa: E402

LISTEN = "/ip4/127.0.0.1/tcp/0"
KEY, VALUE_BYTES = b"/test/bench", 1000
DISCARD, SOURCE = "/test/discard/1.0.0", "/test/source/1.0.0"
PROTOCOL = "/test/kad/1.0.0"
CHUNK_BYTES = 64 << 10
_LIFETIME_S = 1800
_CPUCLOCK_SCHED = 2  # Linux, include/linux/posix-timers_types.h


def cpu_s(process_id: int) -> float:
    """Return the CPU seconds that a process has used, all its threads together, as the kernel counts them.

    The clock of clock_getcpuclockid(3), which Python does not wrap: /proc/PID/stat counts in 10 ms.
    """
    return time.clock_gettime(~process_id << 3 | _CPUCLOCK_SCHED)


def machine() -> dict[str, Any]:
    """Return what the figures depend on: processor, cores, versions, and the day."""
    lines = Path("/proc/cpuinfo").read_text("ascii", "replace").splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    libraries = ("libp2p", "trio", "cryptography", "pynacl", "protobuf")
    return {
        "processor": models[0] if models else platform.machine(),
        "cpus": len(os.sched_getaffinity(0)),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in libraries} | _peer_versions(),
        "load_before": os.getloadavg()[0],
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def _peer_versions() -> dict[str, str]:
    wanted = ("go-libp2p", "go-libp2p-kad-dht")
    modules = dict(re.findall(r"github.com/libp2p/(\S+) v(\S+)", (PEERS / "go/go.mod").read_text("utf-8")))
    package = json.loads((PEERS / "js/package.json").read_text("utf-8"))["dependencies"]
    return {name: modules[name] for name in wanted} | {
        "js-libp2p": package["libp2p"],
        "js @libp2p/kad-dht": package["@libp2p/kad-dht"],
    }


def need_peers(*kinds: str) -> None:
    """Build the go and js peers; end the program if one that is needed has no toolchain here."""
    build_peers()
    for kind in kinds:
        if not available(kind):  # type: ignore[arg-type]
            raise SystemExit(f"the {kind} peer cannot be built here: tests/interop/peers/README.md")


@asynccontextmanager
async def open_generator() -> AsyncIterator[Peer]:
    async with open_peer("go", prefix="/load", mode="client", lifetime_s=_LIFETIME_S, refresh_s=3600) as peer:
        yield peer
