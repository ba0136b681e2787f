"""One request of the control protocol and its answers. Sans-IO.

The owner sends `Call.request`, feeds each frame that comes back to `on_frame`, and hands out the items
that this returns until `finished`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, Generic, TypeVar

from google.protobuf.message import DecodeError

from primedht import errors
from primedht.client import _decode
from primedht.ids import PeerId
from primedht.pb import p2pd_pb2 as pb
from primedht.wire.frames import encode_frame

T = TypeVar("T")
Duration = float | int | timedelta
# The daemon ends an operation by its own clock; the client gives up only if it does not.
ANSWER_MARGIN_S = 10.0


class Call(Generic[T]):
    """One request to the daemon. `timeout_s` bounds each wait for an answer."""

    def __init__(
        self, request: pb.Request, on_response: Callable[[pb.Response], Iterable[T]], *, timeout_s: float
    ) -> None:
        self.request = encode_frame(request.SerializeToString())
        self.timeout_s = timeout_s + ANSWER_MARGIN_S
        self.finished = False
        self._on_response = on_response

    def on_frame(self, frame: bytes) -> list[T]:
        """Take one response. Raises the daemon's error, or `DaemonUnavailable` for what is no response."""
        self.finished = True
        response = parse_response(frame)
        self.finished = not response.prime.more
        return list(self._on_response(response))


def parse_response(frame: bytes) -> pb.Response:
    """Return a response that is no error. Raises the daemon's error, or `DaemonUnavailable`."""
    try:
        response = pb.Response.FromString(frame)
    except DecodeError:
        response = pb.Response()
    if not response.IsInitialized():  # parsing does not look at required fields
        raise errors.DaemonUnavailable("what answers there does not speak the control protocol")
    if response.type == pb.Response.ERROR:
        raise _decode.error(response.error)
    return response


def prime_request(
    name: str, operation: Any, timeout: Duration, *, want_trace: bool = False
) -> tuple[pb.Request, float]:
    """Return the request of one of our operations, and its time limit in seconds."""
    timeout_s = seconds(timeout)
    if not timeout_s > 0:
        raise errors.InvalidArgument(f"timeout is {timeout_s} s; it must be positive")
    prime = pb.PrimeRequest(timeout_s=timeout_s, want_trace=want_trace, **{name: operation})
    return pb.Request(type=pb.Request.PRIME, prime=prime), timeout_s


def prime_call(
    name: str,
    operation: Any,
    on_prime: Callable[[pb.PrimeResponse], Iterable[T]],
    timeout: Duration,
    *,
    want_trace: bool = False,
) -> Call[T]:
    """Return the call of one of our operations."""
    request, timeout_s = prime_request(name, operation, timeout, want_trace=want_trace)

    def on_response(response: pb.Response) -> Iterable[T]:
        return () if response.prime.HasField("done") else on_prime(response.prime)

    return Call(request, on_response, timeout_s=timeout_s)


def key_bytes(key: bytes | str) -> bytes:
    """Return a key's bytes; text is UTF-8."""
    return key.encode("utf-8") if isinstance(key, str) else bytes(key)


def seconds(duration: Duration) -> float:
    """Return a duration given as seconds or timedelta in seconds."""
    return duration.total_seconds() if isinstance(duration, timedelta) else float(duration)


def peer_id(peer: PeerId | bytes | str) -> PeerId:
    """Return a peer id given as text or bytes. Raises `InvalidArgument`."""
    return PeerId.from_text(peer) if isinstance(peer, str) else PeerId(peer)


def count(value: int, name: str) -> int:
    """Return `value` if it may be a number of things. Raises `InvalidArgument`."""
    if not 0 < value < 1 << 31:
        raise errors.InvalidArgument(f"{name} is {value}; it must be at least 1")
    return value
