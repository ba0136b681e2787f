"""The daemon's control socket under clients that others wrote, and the streams that it carries.

`clients/` has the programs; each makes all its client's calls and asserts what they return.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Literal

import pytest
import trio
from ours import TEST, open_any
from peers import Peer, available
from processes import Daemon, clean_environment, daemon, wait_until

pytestmark = [
    pytest.mark.interop,
    pytest.mark.usefixtures("built_peers"),
    pytest.mark.timeout(900),  # the first test may wait for a cold build
]

CLIENTS = Path(__file__).parent / "clients"
ECHO = "/test/echo/1.0.0"
PATIENCE_S = 240
TCP = "/ip4/127.0.0.1/tcp/0"


@pytest.fixture(scope="session")
def p2pclient(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, without what it depends on, in a folder of its own."""
    folder = tmp_path_factory.mktemp("p2pclient")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--no-deps", "--target", str(folder), "p2pclient==0.3.0"], check=True, timeout=240)
    return folder


@pytest.fixture
def daemons(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Daemon, Daemon]]:
    """Two daemons that know each other; the parameter is where their control sockets are."""
    options = ["--control", TCP] if request.param == "tcp" else []
    with ExitStack() as stack:
        a = stack.enter_context(daemon(tmp_path / "a", *options))
        b = stack.enter_context(daemon(tmp_path / "b", *options, bootstrap=[a.addr]))
        for each in (a, b):
            wait_until(
                lambda each=each: each.call_json("status")["routing_table"]["peers"] == 1,
                what="a table of one",
            )
        yield a, b


@asynccontextmanager
async def client(*command: object, **environ: str) -> AsyncIterator[trio.Process]:
    """Run a client's program; the block begins when all its calls have passed."""
    process = await trio.lowlevel.open_process(
        [str(part) for part in command],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=clean_environment(**environ),
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        with trio.fail_after(PATIENCE_S):
            said = await process.stdout.receive_some(100)
        assert said == b"ready\n", "its standard error tells why"
        yield process
        await process.stdin.aclose()
        with trio.fail_after(PATIENCE_S):
            assert await process.wait() == 0
    finally:
        process.kill()
        await process.wait()


async def echo_through(peer: Peer, served_by: Daemon) -> None:
    """Let `peer` open a stream that ends at the client which registered with `served_by`."""
    await peer.call("connect", addr=served_by.addr)
    reply = await peer.call(
        "echo", peer=served_by.peer_id, protocol=ECHO, bytes_n=300_000, chunk=10_000, timeout_s=60
    )
    assert reply["bytes_n"] == 300_000


@pytest.mark.parametrize("kind", ["go", "js"])
@pytest.mark.parametrize("daemons", ["unix", "tcp"], indirect=True)
async def test_p2pclient(
    kind: Literal["go", "js"], daemons: tuple[Daemon, Daemon], p2pclient: Path, tmp_path: Path
) -> None:
    """All calls of PyPI's p2pclient; streams from and to a peer of another implementation."""
    _, b = daemons
    controls = [str(each.ready["control"]) for each in daemons]
    by_tcp = controls[0].startswith("/ip4")
    listens = [f"/ip4/127.0.0.1/tcp/{free_port()}" if by_tcp else f"/unix{tmp_path}/listen-{n}" for n in "ab"]
    async with open_any(kind, prefix=TEST) as peer:
        assert isinstance(peer, Peer)
        program = CLIENTS / "p2pclient_calls.py"
        command = (sys.executable, program, *controls, *listens, peer.addr, ECHO)
        async with client(*command, PYTHONPATH=str(p2pclient)):
            await echo_through(peer, b)


@pytest.mark.parametrize("kind", ["go", "js"])
@pytest.mark.parametrize("daemons", ["unix"], indirect=True)
async def test_daemon_client(kind: Literal["go", "js"], daemons: tuple[Daemon, Daemon]) -> None:
    """All calls of npm's @libp2p/daemon-client; streams from and to a peer of another implementation."""
    if not available("js"):
        pytest.skip("no toolchain for a js client")
    _, b = daemons
    controls = [str(each.ready["control"]) for each in daemons]
    async with open_any(kind, prefix=TEST) as peer:
        assert isinstance(peer, Peer)
        program = Path(__file__).parent / "peers/js/daemon-client.mjs"
        async with client("node", program, *controls, peer.addr, ECHO):
            await echo_through(peer, b)


def test_p2pclient_starts_us_as_its_p2pd(p2pclient: Path, tmp_path: Path) -> None:
    """`primedht p2pd` behind the name p2pd, started, awaited and ended by p2pclient's own code."""
    program = tmp_path / "p2pd"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m primedht.cli p2pd "$@"\n')
    program.chmod(0o700)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    ended = subprocess.run(
        [sys.executable, CLIENTS / "p2pclient_starts.py"],
        capture_output=True, text=True, timeout=PATIENCE_S, check=False,
        env=clean_environment(PATH=path, PYTHONPATH=str(p2pclient)),
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
