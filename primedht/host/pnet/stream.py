"""Sockets under a pre-shared key, for py-libp2p's connections and for our Noise alike."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
import trio
from libp2p.abc import IRawConnection
from libp2p.io.abc import ReadWriteCloser
from libp2p.io.exceptions import IOException
from libp2p.network.connection.raw_connection import RawConnection

from primedht import limits
from primedht.errors import PeerUnreachable, PskMismatch, RemoteError
from primedht.host.noise.wire import SEND_BYTES
from primedht.host.pnet.session import PskSession
from primedht.host.pnet.xsalsa20 import NONCE_BYTES
from primedht.host.sockets import TcpStream
from primedht.psk import Psk

log = structlog.get_logger(__name__)


class PskStream(ReadWriteCloser):
    """A socket inside a `PskSession`; also a `noise.Wire`, once a negotiation has used `read`."""

    def __init__(self, stream: TcpStream, session: PskSession, sealed: memoryview) -> None:
        """sealed: a buffer that all connections of a node share; see `noise.wire`."""
        self._stream = stream
        self._session = session
        self._sealed = sealed
        self._prove_by = trio.current_time() + limits.PSK_PROOF_TIMEOUT_S

    async def read(self, n: int | None = None) -> bytes:
        """As `TcpStream.read`. Raises `PskMismatch` too, also if the peer does not prove its key in time."""
        if self._session.is_proven:
            return self._opened(await self._stream.read(n))
        with trio.CancelScope(deadline=self._prove_by):
            try:
                return await self._read_unproven(n)
            except (IOException, OSError) as error:
                raise self._gone() from error
        what = "not even a nonce" if self._session.wanted_bytes else "its nonce and nothing that fits our key"
        raise PskMismatch(f"within {limits.PSK_PROOF_TIMEOUT_S:g} s the peer sent {what}")

    async def _read_unproven(self, n: int | None) -> bytes:
        session = self._session
        while wanted := session.wanted_bytes:
            data = await self._stream.read(wanted)
            session.feed(data)
            if len(data) < wanted:
                break
        else:
            if data := await self._stream.read(n):
                return self._opened(data)
        raise self._gone()

    def _gone(self) -> RemoteError:
        if self._session.has_begun:
            return PskMismatch(
                "the peer ended the connection upon our nonce; "
                "it has another pre-shared key and is not in this private network"
            )
        return PeerUnreachable(
            "the peer ended the connection without a word; it is full, or is not in this private network"
        )

    def _opened(self, data: bytes) -> bytes:
        buffer = bytearray(data)
        self._session.open(memoryview(buffer))
        return bytes(buffer)

    async def write(self, data: bytes) -> None:
        await self._stream.write(bytes(self._seal(data)))

    async def send_nonce(self) -> None:
        await self._stream.write(self._session.nonce)

    def _seal(self, data: bytes | memoryview) -> memoryview:
        size = len(data)
        sealed = self._sealed[:size] if size <= len(self._sealed) else memoryview(bytearray(size))
        self._session.seal(data, sealed)
        return sealed

    async def close(self) -> None:
        await self._stream.close()

    def get_remote_address(self) -> tuple[str, int] | None:
        return self._stream.get_remote_address()

    # --- for our Noise: `noise.Wire` ------------------------------------------------------------

    def receive_nowait(self, buffer: memoryview) -> int | None:
        size = self._stream.receive_nowait(buffer)
        if size:
            self._session.open(buffer[:size])
        return size

    async def wait_readable(self) -> None:
        await self._stream.wait_readable()

    @property
    def received_at(self) -> float:
        return self._stream.received_at

    def interrupt(self) -> None:
        self._stream.interrupt()

    def write_nowait(self, data: memoryview) -> int:
        return self._stream.write_nowait(self._seal(data))

    @property
    def backlog_bytes(self) -> int:
        return self._stream.backlog_bytes

    async def flush(self) -> None:
        await self._stream.flush()


class Protector:
    """Puts the connections of one node under its pre-shared key.

    mismatches: connections that failed because the other side has another key, or none.
    """

    def __init__(self, psk: Psk) -> None:
        self.psk = psk
        self.mismatches = 0
        self._unreported = 0
        self._report_at = -float("inf")
        self._sealed = memoryview(bytearray(SEND_BYTES))

    async def protect(self, conn: IRawConnection) -> RawConnection:
        """Return `conn` with everything under the key, our nonce sent. Raises as its `write` does."""
        assert isinstance(conn, RawConnection)
        assert isinstance(conn.stream, TcpStream)
        stream = PskStream(conn.stream, PskSession(self.psk, os.urandom(NONCE_BYTES)), self._sealed)
        # js peers wait for it before they say anything.
        await stream.send_nonce()
        return RawConnection(stream, conn.is_initiator)

    @contextmanager
    def reporting(self, conn: IRawConnection) -> Iterator[None]:
        """Count a mismatch, and log one a minute: it is as often a stranger as a misconfigured peer."""
        try:
            yield
        except PskMismatch as error:
            self.mismatches += 1
            self._unreported += 1
            now = trio.current_time()
            if now >= self._report_at:
                self._report_at = now + limits.PSK_REPORT_INTERVAL_S
                ip, port = conn.get_remote_address() or ("", 0)
                log.warning(
                    "psk_mismatch",
                    peer=f"{ip} port {port}",
                    dialled=conn.is_initiator,
                    error=str(error),
                    own_key=self.psk.fingerprint,
                    count=self._unreported,
                )
                self._unreported = 0
            raise
