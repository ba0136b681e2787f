"""multistream-select 1.0 without I/O: which protocol a connection or stream is for.

Lines are bounded and any bytes are tolerated in a name (docs/py-libp2p.md, B1, B21): a name that is not
UTF-8 is simply one that nobody supports.

Source: multiformats/multistream-select; go-multistream, multistream.go for the line limit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Protocol

from primedht import limits
from primedht.errors import ProtocolViolation
from primedht.wire import varint

MULTISTREAM = "/multistream/1.0.0"
_REFUSAL = "na"


class ProtocolRefused(ProtocolViolation):
    """The peer supports none of the protocols that we proposed."""


@lru_cache(maxsize=256)
def encode_line(text: str) -> bytes:
    """Return one multistream message: its length, `text`, a newline."""
    body = text.encode() + b"\n"
    return varint.encode(len(body)) + body


GREETING = encode_line(MULTISTREAM)
"""What each side of every negotiation sends first."""


class NotMultistream(ProtocolViolation):
    """The peer's first bytes are none of multistream-select's."""


class _Lines:
    """Cuts received bytes into lines and says how many bytes complete the next one."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def check_greeting(self) -> None:
        """Raise `NotMultistream` as soon as the first line can no longer become the greeting."""
        begin = bytes(self._buffer[: len(GREETING)])
        if not GREETING.startswith(begin):
            raise NotMultistream(f"not multistream-select: {begin!r}")

    def next_line(self) -> str | None:
        """Return the next line without its newline, or None. Raises `ProtocolViolation`."""
        head = varint.decode(self._buffer)
        if head is None:
            return None
        size, start = head
        if not 0 < size <= limits.MULTISTREAM_LINE_BYTES_MAX:
            raise ProtocolViolation(f"multistream line of {size} bytes")
        if len(self._buffer) < start + size:
            return None
        line = bytes(self._buffer[start : start + size])
        if line[-1:] != b"\n":
            raise ProtocolViolation("multistream line without a newline")
        del self._buffer[: start + size]
        return line[:-1].decode("utf-8", "replace")

    @property
    def wanted_bytes(self) -> int:
        """How many bytes may be read without taking any that follow the line."""
        head = varint.decode(self._buffer)
        return 1 if head is None else head[1] + head[0] - len(self._buffer)

    def rest(self) -> bytes:
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest


class Negotiation(Protocol):
    """One side of a negotiation. `protocol` is None until the sides agree."""

    protocol: str | None

    @property
    def wanted_bytes(self) -> int: ...

    def feed(self, data: bytes) -> bytes:
        """Take received bytes, return those to send. Raises `ProtocolViolation`."""
        ...

    def rest(self) -> bytes:
        """Return, once, the bytes received behind the agreement."""
        ...


class Responder:
    """Answers proposals until one is supported."""

    def __init__(self, supports: Callable[[str], bool]) -> None:
        self._supports = supports
        self._lines = _Lines()
        self._greeted = False
        self._refusals = 0
        self.protocol: str | None = None

    @property
    def wanted_bytes(self) -> int:
        return self._lines.wanted_bytes

    def feed(self, data: bytes) -> bytes:
        self._lines.feed(data)
        out = b""
        if not self._greeted:
            self._lines.check_greeting()
        while self.protocol is None and (line := self._lines.next_line()) is not None:
            if not self._greeted:
                self._greeted = True
                out += encode_line(MULTISTREAM)
            elif self._supports(line):
                self.protocol = line
                out += encode_line(line)
            else:
                self._refusals += 1
                if self._refusals > limits.MULTISTREAM_PROPOSALS_MAX:
                    raise ProtocolViolation(f"{self._refusals} proposals and none supported")
                out += encode_line(_REFUSAL)
        return out

    def rest(self) -> bytes:
        return self._lines.rest()


class Proposer:
    """Proposes `protocols` in order until the peer takes one."""

    def __init__(self, protocols: Sequence[str]) -> None:
        if not protocols:
            raise ValueError("no protocol to propose")
        self._protocols = tuple(protocols)
        self._proposed = 0
        self._lines = _Lines()
        self._is_fresh = True
        self._greeted = False
        self.protocol: str | None = None

    def opening(self) -> bytes:
        """Return the first bytes to send: the greeting and the first proposal together."""
        return encode_line(MULTISTREAM) + encode_line(self._protocols[0])

    @property
    def wanted_bytes(self) -> int:
        return self._lines.wanted_bytes

    def feed(self, data: bytes) -> bytes:
        if self._is_fresh:  # the usual answer, all in one piece
            self._is_fresh = False
            agreement = self.opening()
            if data.startswith(agreement):
                self.protocol = self._protocols[0]
                data = data[len(agreement) :]
        self._lines.feed(data)
        out = b""
        if not self._greeted and self.protocol is None:
            self._lines.check_greeting()
        while self.protocol is None and (line := self._lines.next_line()) is not None:
            if not self._greeted:
                self._greeted = True
            elif line == self._protocols[self._proposed]:
                self.protocol = line
            elif line == _REFUSAL:
                self._proposed += 1
                if self._proposed == len(self._protocols):
                    raise ProtocolRefused(f"the peer refuses {', '.join(self._protocols)}")
                out += encode_line(self._protocols[self._proposed])
            else:
                raise ProtocolViolation(f"unexpected answer to a proposal: {line[:64]!r}")
        return out

    def rest(self) -> bytes:
        return self._lines.rest()


class ByteConnection(Protocol):
    async def read(self, n: int | None = None) -> bytes: ...

    async def write(self, data: bytes) -> None: ...


async def negotiate(conn: ByteConnection, side: Negotiation, opening: bytes = b"") -> str:
    """Agree on a protocol over `conn`, reading not one byte beyond the agreement.

    Raises `ProtocolViolation`, or what `conn` raises. The caller sets the time limit.
    """
    if opening:
        await conn.write(opening)
    while side.protocol is None:
        data = await conn.read(side.wanted_bytes)
        if not data:
            raise ProtocolViolation("the connection ended before a protocol was agreed on")
        out = side.feed(data)
        if out:
            await conn.write(out)
    return side.protocol
