"""Tells those who want to know what the node did, without ever waiting for them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import structlog
import trio

from primedht import limits
from primedht.clock import WallClock
from primedht.errors import DaemonError, InvalidArgument, PrimeDhtError, TooBusy
from primedht.events import OPERATIONS, OperationEnded
from primedht.ids import PeerId
from primedht.results import Trace

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Outcome:
    """What an operation fills in for its event; see `OperationEnded`."""

    peers: tuple[PeerId, ...] = ()
    value_bytes: int = 0
    trace: Trace | None = None


class Subscription:
    """Events as they happen, at most `EVENTS_WAITING_MAX` of them waiting.

    Iterating ends when it was closed, and when events came faster than they were taken: then `lagged`
    is set, and the events that waited are still given.
    """

    def __init__(self, operations: frozenset[str], *, want_trace: bool) -> None:
        self.lagged = False
        self.want_trace = want_trace
        self._operations = operations
        self._send, self._receive = trio.open_memory_channel[OperationEnded](limits.EVENTS_WAITING_MAX)

    def close(self) -> None:
        """Take no more events."""
        self._send.close()

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> OperationEnded:
        return await self._receive.__anext__()

    def offer(self, event: OperationEnded) -> None:
        if self._operations and event.operation not in self._operations:
            return
        try:
            self._send.send_nowait(event)
        except trio.WouldBlock:
            self.lagged = True
            self.close()
        except trio.ClosedResourceError:
            return


class Events:
    """What one node tells about its operations."""

    def __init__(self, clock: WallClock) -> None:
        self._clock = clock
        self._subscriptions: set[Subscription] = set()

    @contextmanager
    def subscribe(
        self, operations: Collection[str] = (), *, want_trace: bool = False
    ) -> Iterator[Subscription]:
        """Give what happens while the block runs; of these `operations` only, if there are any.

        want_trace: with how their lookups went, which takes some KiB an event. Raises `InvalidArgument`
        for an operation that does not exist, and `TooBusy`.
        """
        if len(self._subscriptions) >= limits.SUBSCRIBERS_MAX:
            raise TooBusy(f"{limits.SUBSCRIBERS_MAX} subscribe to events already; end one of them")
        unknown = sorted(set(operations) - set(OPERATIONS))
        if unknown:
            raise InvalidArgument(f"no operation is called {unknown[0]!r}; there are {', '.join(OPERATIONS)}")
        subscription = Subscription(frozenset(operations), want_trace=want_trace)
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)
            subscription.close()

    @contextmanager
    def operation(self, name: str, key: bytes) -> Iterator[Outcome]:
        """Publish an event when the block ends, in whatever way."""
        started_unix_s, began = self._clock.unix_now(), trio.current_time()
        outcome = Outcome()
        result = DaemonError.code
        try:
            yield outcome
            result = "ok"
        except PrimeDhtError as error:
            result = error.code
            outcome.trace = outcome.trace or error.trace
            raise
        except trio.Cancelled:
            result = "cancelled"
            raise
        finally:
            self._publish(
                OperationEnded(
                    operation=name,
                    key=key,
                    started_unix_s=started_unix_s,
                    took_s=trio.current_time() - began,
                    outcome=result,
                    peers=outcome.peers,
                    value_bytes=outcome.value_bytes,
                    trace=outcome.trace,
                )
            )

    def _publish(self, event: OperationEnded) -> None:
        log.debug(
            "operation_ended", operation=event.operation, key=event.key.hex(), outcome=event.outcome,
            took_s=round(event.took_s, 3), peers=len(event.peers),
        )  # fmt: skip
        if not self._subscriptions:
            return
        plain = replace(event, trace=None)
        for subscription in tuple(self._subscriptions):
            subscription.offer(event if subscription.want_trace else plain)
