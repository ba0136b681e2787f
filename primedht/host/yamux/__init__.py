"""libp2p's yamux, `/yamux/1.0.0`.

`session` and what it stands on do no I/O; `connection` runs one over a secure connection.

Source: libp2p specs, yamux/README.md.
"""

from __future__ import annotations

from primedht.host.yamux.budget import MemoryBudget
from primedht.host.yamux.connection import MessageConnection, YamuxConnection
from primedht.host.yamux.frames import YamuxViolation
from primedht.host.yamux.muxed_stream import YamuxStream
from primedht.host.yamux.pulse import PeerSilent
from primedht.host.yamux.session import Session, SessionEnded, SessionLimits

__all__ = [
    "YamuxConnection",
    "YamuxStream",
    "MessageConnection",
    "MemoryBudget",
    "Session",
    "SessionLimits",
    "SessionEnded",
    "PeerSilent",
    "YamuxViolation",
]
