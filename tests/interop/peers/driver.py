"""Starts the go and js peers and drives them by JSON lines.

One process a peer. Requests run concurrently and are matched to replies by id. Every wait is
bounded, and a process is only ever ended through the handle it was started with.
"""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import subprocess
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import trio

Kind = Literal["go", "js"]
Mode = Literal["server", "client"]
KeyType = Literal["ed25519", "rsa", "secp256k1", "ecdsa"]
Reply = dict[str, Any]

HERE = Path(__file__).resolve().parent
BINARY_FIELDS = frozenset({"key", "value", "record", "frames_b64", "cid"})
STDERR_LINES_KEPT = 200
STDERR_LINES_SHOWN = 40
EXIT_GRACE_S = 5.0


class PeerError(Exception):
    """A peer refused an operation, did not answer in time, or died."""


def build_peers(*, timeout_s: float = 900) -> None:
    """Build every peer this machine has the toolchain for; raise if one of those fails."""
    script = HERE / "build.sh"
    done = subprocess.run([script], capture_output=True, text=True, timeout=timeout_s, check=False)
    if done.returncode:
        raise PeerError(f"build.sh: exit {done.returncode}\n{done.stdout}{done.stderr}")


def available(kind: Kind) -> bool:
    """Whether `kind` is built and can run here."""
    if kind == "go":
        return (HERE / ".build/gopeer").exists()
    return shutil.which("node") is not None and (HERE / "js/node_modules").is_dir()


@asynccontextmanager
async def open_peer(
    kind: Kind,
    *,
    prefix: str = "/ipfs",
    mode: Mode = "server",
    validators: Sequence[str] = (),
    key_type: KeyType = "ed25519",
    seed: int | None = None,
    tls: bool = False,
    psk: Path | None = None,
    listen: str = "/ip4/127.0.0.1/tcp/0",
    refresh_s: float = 10,
    lifetime_s: float = 600,
    start_timeout_s: float = 60,
    options: Sequence[str] = (),
) -> AsyncIterator[Peer]:
    """Run a peer for the block. An exception that leaves the block carries the peer's stderr.

    options: further flags, for what only one kind has.
    """
    program = [str(HERE / ".build/gopeer")] if kind == "go" else ["node", str(HERE / "js/peer.mjs")]
    command = [
        *program,
        *(f"--prefix={prefix}", f"--mode={mode}", f"--listen={listen}", f"--key-type={key_type}"),
        *(f"--refresh-s={refresh_s}", f"--lifetime-s={lifetime_s}"),
        *(f"--validator={name}" for name in validators),
        *([] if seed is None else [f"--seed={seed}"]),
        *(["--tls"] if tls else []),
        *options,
        *([] if psk is None else [f"--psk={psk}"]),
    ]
    async with run_peer(kind, command, start_timeout_s=start_timeout_s) as peer:
        yield peer


@asynccontextmanager
async def run_peer(
    kind: Kind | Literal["ours"], command: Sequence[str], *, start_timeout_s: float = 60
) -> AsyncIterator[Peer]:
    """As `open_peer`, of any program that speaks the protocol of README.md."""
    process = await trio.lowlevel.open_process(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    peer = Peer(kind, process)
    try:
        async with trio.open_nursery() as nursery:
            try:
                nursery.start_soon(peer._read_replies)
                nursery.start_soon(peer._read_stderr)
                await peer._wait_ready(start_timeout_s)
                yield peer
            except Exception as error:
                # Its last words may still be in the pipe.
                await trio.sleep(0.05)
                error.add_note(peer.describe())
                raise
            finally:
                await peer._end()
                nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        # The readers raise nothing, so this is the block's own exception, only wrapped.
        if len(group.exceptions) == 1:
            raise group.exceptions[0] from None
        raise


@dataclass(slots=True)
class _Call:
    done: trio.Event = field(default_factory=trio.Event)
    reply: Reply | None = None


class Peer:
    """A running peer. Make one with `open_peer`."""

    def __init__(self, kind: Kind | Literal["ours"], process: trio.Process) -> None:
        self.kind = kind
        self.peer_id = ""
        self.addrs: list[str] = []
        self._process = process
        self._ids = itertools.count(1)
        self._calls: dict[int, _Call] = {}
        self._ready = trio.Event()
        self._gone = False
        self._write_lock = trio.Lock()
        self._stderr: deque[str] = deque(maxlen=STDERR_LINES_KEPT)

    @property
    def addr(self) -> str:
        """The first listen address, ending in /p2p/<peer id>."""
        return self.addrs[0]

    @property
    def pid(self) -> int:
        return self._process.pid

    async def call(self, op: str, *, timeout_s: float = 30, **fields: Any) -> Reply:
        """Run `op` on the peer and return its answer; raise PeerError when it reports one.

        Bytes are encoded on the way out, and decoded in the fields that hold bytes.
        """
        request_id = next(self._ids)
        request = {"id": request_id, "op": op, "timeout_ms": int(timeout_s * 1000)}
        request |= {name: _encode(value) for name, value in fields.items()}
        call = self._calls[request_id] = _Call()
        try:
            # The peer keeps the time limit itself; this one is for a peer that hangs.
            with trio.fail_after(timeout_s + 5):
                await self._send(request)
                if not self._gone:
                    await call.done.wait()
        except trio.TooSlowError:
            raise PeerError(f"{self.kind} {op}: no answer within {timeout_s + 5} s") from None
        finally:
            del self._calls[request_id]
        if call.reply is None:
            raise PeerError(f"{self.kind} {op}: the peer is gone")
        if not call.reply.pop("ok"):
            raise PeerError(f"{self.kind} {op}: {call.reply['error']}")
        return {name: _decode(name, value) for name, value in call.reply.items() if name != "id"}

    def kill(self) -> None:
        """End the process at once, as a crash would."""
        self._process.kill()

    def describe(self) -> str:
        tail = list(self._stderr)[-STDERR_LINES_SHOWN:]
        return "\n".join([f"{self.kind} peer {self.peer_id}, pid {self.pid}; its stderr:", *tail])

    async def _send(self, request: Reply) -> None:
        assert self._process.stdin is not None
        async with self._write_lock:
            try:
                await self._process.stdin.send_all(json.dumps(request).encode() + b"\n")
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self._gone = True

    async def _wait_ready(self, timeout_s: float) -> None:
        with trio.move_on_after(timeout_s):
            await self._ready.wait()
        if not self.peer_id:
            raise PeerError(f"{self.kind} peer did not start")

    async def _read_replies(self) -> None:
        assert self._process.stdout is not None
        async for line in _lines(self._process.stdout):
            message: Reply = json.loads(line)
            if message.get("event") == "ready":
                self.peer_id, self.addrs = message["peer_id"], message["addrs"]
                self._ready.set()
            elif (call := self._calls.get(message["id"])) is not None:
                call.reply = message
                call.done.set()
        self._gone = True
        self._ready.set()
        for call in self._calls.values():
            call.done.set()

    async def _read_stderr(self) -> None:
        assert self._process.stderr is not None
        async for line in _lines(self._process.stderr):
            self._stderr.append(line.decode(errors="replace"))

    async def _end(self) -> None:
        assert self._process.stdin is not None
        with trio.CancelScope(shield=True):
            await self._process.stdin.aclose()
            with trio.move_on_after(EXIT_GRACE_S):
                await self._process.wait()
            if self._process.returncode is None:
                self._process.kill()
                await self._process.wait()


async def connect(dialer: Peer, listener: Peer) -> None:
    """Connect two peers and wait until each has identified the other."""
    await dialer.call("connect", addr=listener.addr)
    await dialer.call("identify", peer=listener.peer_id)
    await listener.call("identify", peer=dialer.peer_id)


async def until(
    condition: Callable[[], Awaitable[bool]], *, what: str, timeout_s: float = 15, interval_s: float = 0.05
) -> None:
    """Wait for `condition`, which may call peers."""
    with trio.move_on_after(timeout_s):
        while not await condition():  # noqa: ASYNC110  (it is another process that we wait for)
            await trio.sleep(interval_s)
        return
    raise PeerError(f"not within {timeout_s} s: {what}")


async def in_table(peer: Peer, *others: Peer, timeout_s: float = 15) -> None:
    """Wait until `others` are all in the routing table of `peer`."""
    wanted = {other.peer_id for other in others}

    async def seen() -> bool:
        return wanted <= set((await peer.call("peers"))["table"])

    await until(seen, what=f"{wanted} in the table of {peer.kind} {peer.peer_id}", timeout_s=timeout_s)


async def _lines(stream: trio.abc.ReceiveStream) -> AsyncIterator[bytes]:
    rest = b""
    async for chunk in stream:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line
    if rest:
        yield rest


def _encode(value: object) -> object:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, (list, tuple)):
        return [_encode(item) for item in value]
    return value


def _decode(name: str, value: Any) -> Any:
    if name not in BINARY_FIELDS or value is None:
        return value
    if isinstance(value, list):
        return [base64.b64decode(item) for item in value]
    return base64.b64decode(value)
