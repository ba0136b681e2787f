"""One stream of a session. Sans-IO: nothing here waits, and everything takes effect at once.

Each half ends on its own: the peer's with a FIN (`peer_finished`), ours with `finish`. A failure ends
both: a reset from either side, or the end of the session. The two are never confused: bytes that
arrived before a FIN are complete, those before a failure are not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from primedht.host.yamux.buffers import ReceiveBuffer, SendQueue
from primedht.host.yamux.frames import ACK, INITIAL_WINDOW_BYTES, SYN
from primedht.host.yamux.window import ReceiveWindow

if TYPE_CHECKING:
    from primedht.host.yamux.session import Session


class Stream:
    """State of one stream. `Session` writes it; applications use the methods, and read the rest.

    peer_finished: what has arrived is everything. finished: `finish` was called. failure: why it
    ended early, None if it did not. is_open: not over in both directions. credit: bytes that the peer
    lets us send. The session's owner writes two: wants_room, to see the stream in `pop_changed` when
    something of it has been sent, and owner, to find its own object by.
    """

    __slots__ = (
        "_session",
        "_unsent_flag",
        "credit",
        "failure",
        "fin_sent",
        "finished",
        "id",
        "inbound",
        "incoming",
        "is_acknowledged",
        "is_open",
        "is_scheduled",
        "outgoing",
        "owner",
        "peer_finished",
        "wants_room",
        "window",
    )

    def __init__(self, session: Session, stream_id: int, *, inbound: bool, now: float) -> None:
        self.id = stream_id
        self.inbound = inbound
        self.incoming = ReceiveBuffer()
        self.outgoing = SendQueue()
        self.window = ReceiveWindow(now)
        self.credit = INITIAL_WINDOW_BYTES
        self.peer_finished = False
        self.finished = False
        self.fin_sent = False
        self.failure: str | None = None
        self.is_acknowledged = inbound
        self.is_open = True
        self.is_scheduled = False
        self.wants_room = False
        self.owner: object = None
        self._session = session
        self._unsent_flag = ACK if inbound else SYN

    # --- for applications -----------------------------------------------------------------------

    @property
    def is_readable(self) -> bool:
        """Whether `receive` has something to return, or never will."""
        return bool(self.incoming.size or self.peer_finished or self.failure)

    @property
    def unsent_bytes(self) -> int:
        return self.outgoing.size

    def receive(self, size_max: int | None = None) -> bytes:
        """Return bytes that have arrived, at most `size_max`; b"" if there are none, see `is_readable`."""
        data = self.incoming.take(size_max)
        self._session.on_read(self, len(data))
        return data

    def send(self, data: bytes) -> None:
        """Queue `data`. The caller has checked that the stream is neither finished nor failed."""
        self.outgoing.put(data)
        self._session.on_queued(self, len(data))

    def finish(self) -> None:
        """End our half once everything queued has been sent. Idempotent."""
        if not self.finished and self.is_open:
            self.finished = True
            self._session.on_finished(self)

    def reset(self) -> None:
        """End both halves now, and drop what was unread or unsent. Idempotent."""
        if self.is_open:
            self._session.on_reset(self)

    def show(self) -> None:
        """Let the peer know of the stream before waiting for its data, if nothing sent or queued does."""
        if self._unsent_flag and self.is_open and not self.outgoing.size:
            self._session.on_shown(self)

    # --- for the session ------------------------------------------------------------------------

    @property
    def is_hidden(self) -> bool:
        """Whether we opened it and have not told the peer yet."""
        return self._unsent_flag == SYN

    def take_flag(self) -> int:
        """Return SYN or ACK for the first frame of the stream, 0 for the others."""
        flag, self._unsent_flag = self._unsent_flag, 0
        return flag
