"""Starts a real Redis (or Valkey) server for tests."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

BINARY = shutil.which("redis-server") or shutil.which("valkey-server")
READY_S = 30.0


class RedisServer:
    """One server process on a Unix socket; it can be killed and started again on the same files."""

    def __init__(self, data_dir: Path, socket_path: str, options: dict[str, str]) -> None:
        self.data_dir = data_dir
        self.socket_path = socket_path
        self.url = f"unix://{socket_path}"
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        options = {
            "port": "0",
            "unixsocket": self.socket_path,
            "dir": str(self.data_dir),
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
            "loglevel": "warning",
        } | self._options
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        with (self.data_dir / "log").open("ab") as output:
            self._process = subprocess.Popen([str(BINARY), *arguments], stdout=output, stderr=output)
        deadline = time.monotonic() + READY_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                pytest.fail("redis-server did not start: " + (self.data_dir / "log").read_text()[-2000:])
            time.sleep(0.02)

    def command(self, *words: str) -> bytes:
        """Send one inline command on a connection of its own; return the first bytes of the answer."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(self.socket_path)
            connection.sendall(" ".join(words).encode() + b"\r\n")
            return connection.recv(4096)

    def send(self, signal_number: int) -> None:
        assert self._process is not None
        self._process.send_signal(signal_number)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            return self.command("PING").startswith(b"+PONG")
        return False


@contextlib.contextmanager
def running_redis_server(data_dir: Path, **options: str) -> Iterator[RedisServer]:
    """Run a server on files in `data_dir`; `options` override its configuration."""
    if BINARY is None:
        pytest.skip("no redis-server or valkey-server is installed")
    # Socket paths are at most 107 bytes, temporary directories of tests often longer.
    with tempfile.TemporaryDirectory(prefix="redis") as socket_dir:
        server = RedisServer(data_dir, os.path.join(socket_dir, "s"), options)
        try:
            server.start()
            yield server
        finally:
            server.kill()
