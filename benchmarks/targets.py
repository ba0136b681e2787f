"""Servers under test, and what can be asked of each. See harness.py for who asks."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import trio
from harness import CHUNK_BYTES, KEY, PROTOCOL, VALUE_BYTES, Peer, cpu_s, open_peer

from primedht.kad import codec
from primedht.kad.messages import Message, MessageType, Record

TARGETS = ("primedht", "go", "js", "pylibp2p")
DIALERS = 8
_PATIENCE_S = 30.0
_PROBE_S = 0.2
_TRIAL_BYTES = 16 << 20
_PYLIBP2P_PROTOCOL = "/ipfs/kad/1.0.0"  # it has no other


@dataclass(frozen=True)
class Target:
    """A server under test. process: of servers.py only."""

    name: str
    addr: str
    peer_id: str
    process_id: int
    protocol: str = PROTOCOL
    process: trio.Process | None = None

    async def sample(self) -> None:
        """Begin to sample where its CPU time goes."""
        assert self.process is not None
        assert self.process.stdin is not None
        await self.process.stdin.send_all(b"sample\n")

    async def samples(self) -> dict[str, int]:
        """Return how many samples fell into each part of it."""
        assert self.process is not None
        assert self.process.stdin is not None
        await self.process.stdin.send_all(b"samples\n")
        return dict(json.loads(await _line(self.process)))


async def _line(process: trio.Process) -> bytes:
    assert process.stdout is not None
    line = b""
    with trio.fail_after(_PATIENCE_S):
        while not line.endswith(b"\n"):
            piece = await process.stdout.receive_some()
            assert piece, "the server has ended"
            line += piece
    return line


@asynccontextmanager
async def open_target(name: str) -> AsyncIterator[Target]:
    if name in ("go", "js"):
        # 32 DHT streams of one peer are js's limit, which new streams reach before old ones are gone.
        options = ("--kad-streams-max=1000",) if name == "js" else ()
        peer = open_peer(
            name,  # type: ignore[arg-type]
            prefix="/test",
            validators=["test"],
            refresh_s=3600,
            lifetime_s=1800,
            options=options,
        )
        async with peer as server:
            yield Target(name, server.addr, server.peer_id, server.pid)
        return
    program = __file__.replace("targets.py", "servers.py")
    process = await trio.lowlevel.open_process(
        [sys.executable, program, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    try:
        protocol = _PYLIBP2P_PROTOCOL if name == "pylibp2p" else PROTOCOL
        about = json.loads(await _line(process))
        yield Target(name, process_id=process.pid, protocol=protocol, process=process, **about)
    finally:
        with trio.CancelScope(shield=True):
            await process.stdin.aclose()
            with trio.move_on_after(5):
                await process.wait()
            if process.returncode is None:
                process.kill()
                await process.wait()


Figures = dict[str, Any]


class Bench:
    """Asks one target through one generator, `seconds` for each figure.

    A figure: per_s (requests, bytes or connections), server_cpu_us and client_cpu_us for each of them, and,
    of requests, p50_ms, p99_ms, and failures if there were any.
    """

    def __init__(self, target: Target, generator: Peer, seconds: float) -> None:
        self._target = target
        self._generator = generator
        self._seconds = seconds

    async def surround(self, count: int) -> Figures:
        """Fill the target's routing table with `count` DHT servers, and put the value that is asked for.

        They are identified, ask once each, and answer when they are asked: what every implementation takes
        a peer into its table for. Returns how the target answers FIND_NODE then.
        """
        target, generator = self._target, self._generator
        await generator.call("connect", addr=target.addr)
        await generator.call("gather", addr=target.addr, count=count, protocol=target.protocol, timeout_s=120)
        if target.name != "pylibp2p":  # which has put it itself: it takes signed ones only
            put = codec.encode(Message(MessageType.PUT_VALUE, KEY, Record(KEY, bytes(VALUE_BYTES))))
            reply = await generator.call(
                "raw_request",
                peer=target.peer_id,
                protocol=target.protocol,
                frames_b64=[put],
                read_frames=1,
            )
            assert reply["frames_b64"], f"{target.name} did not take the value"
        value = await self.load("GET_VALUE", fresh=False, at_once=1, seconds=_PROBE_S)
        assert value["value_bytes"] == VALUE_BYTES, f"{target.name} does not have the value"
        with trio.fail_after(_PATIENCE_S):
            while True:
                found = await self.load("FIND_NODE", fresh=False, at_once=1, seconds=_PROBE_S)
                if found["peers_n"] >= min(20, count):
                    return {name: found[name] for name in ("peers_n", "answer_bytes")}

    async def load(
        self, kind: str, *, fresh: bool, at_once: int, clients: int = 0, seconds: float | None = None
    ) -> Figures:
        """Ask for `seconds`, `at_once` requests at a time, from the generator or `clients` of the crowd."""
        seconds = self._seconds if seconds is None else seconds
        return await self._generator.call(
            "load",
            peer=self._target.peer_id,
            protocol=self._target.protocol,
            kind=kind,
            fresh=fresh,
            streams=at_once,
            clients=clients,
            seconds=seconds,
            timeout_s=seconds + _PATIENCE_S,
            **({"key": KEY} if kind == "GET_VALUE" else {}),
        )

    async def requests(self, kind: str, *, fresh: bool, at_once: int, clients: int = 0) -> Figures:
        return await self._measured(
            partial(self.load, kind, fresh=fresh, at_once=at_once, clients=clients), "requests"
        )

    async def bulk(self, protocol: str, *, streams: int) -> Figures:
        """Move as many bytes as take about `seconds`, found out by moving some."""

        async def move(size: int) -> Figures:
            return await self._generator.call(
                "bulk",
                peer=self._target.peer_id,
                protocol=protocol,
                streams=streams,
                bytes_n=size,
                chunk=CHUNK_BYTES,
                timeout_s=4 * _PATIENCE_S,
            )

        trial = await move(_TRIAL_BYTES)
        rate = trial["bytes_n"] / trial["seconds"]
        return await self._measured(partial(move, int(rate * self._seconds)), "bytes_n")

    async def dial(self) -> Figures:
        """Connect and disconnect, `DIALERS` at a time."""
        return await self._measured(
            partial(
                self._generator.call,
                "dial",
                addr=self._target.addr,
                streams=DIALERS,
                seconds=self._seconds,
                timeout_s=self._seconds + _PATIENCE_S,
            ),
            "connections",
        )

    async def _measured(self, work: Callable[[], Awaitable[Figures]], count: str) -> Figures:
        before = cpu_s(self._target.process_id)
        reply = await work()
        used_s = cpu_s(self._target.process_id) - before
        kept = ("p50_ms", "p99_ms", "failures", "failure")
        return {
            "per_s": reply[count] / reply["seconds"],
            "server_cpu_us": 1e6 * used_s / reply[count],
            "client_cpu_us": 1e6 * reply["cpu_s"] / reply[count],
            **{name: reply[name] for name in kept if reply.get(name)},
        }
