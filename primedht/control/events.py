"""Subscription: events until the client goes, or falls behind."""

from __future__ import annotations

import trio

from primedht import limits
from primedht.control import encode
from primedht.control.operation import Operation
from primedht.control.session import ClientGone
from primedht.errors import DaemonUnavailable, SubscriberTooSlow
from primedht.pb import p2pd_pb2 as pb


async def subscribe(op: Operation) -> None:
    """Answer SubscribeRequest: Subscribed, then each event, and Done once the client has ended its side.

    Raises `InvalidArgument`, `TooBusy`, `SubscriberTooSlow`, `ClientGone`, and `DaemonUnavailable` when
    the daemon stops.
    """
    gone: ClientGone | None = None
    operations = list(op.request.subscribe.operations)
    with op.node.dht.events.subscribe(operations, want_trace=op.want_trace) as events:
        await op.send(pb.PrimeResponse(more=True, subscribed=pb.Subscribed()))

        async def end_with_client() -> None:
            await op.session.wait_end()
            events.close()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(end_with_client)
            try:
                async for event in events:
                    message = encode.event(event)
                    await op.send(pb.PrimeResponse(more=True, event=message))
            except ClientGone as error:
                gone = error  # raised outside the nursery, which would wrap it in a group
            nursery.cancel_scope.cancel()
    if gone is not None:
        raise gone
    if events.lagged:
        raise SubscriberTooSlow(
            f"more than {limits.EVENTS_WAITING_MAX} events waited to be read; subscribe again and read faster"
        )
    if op.session.stopping:
        raise DaemonUnavailable("the daemon is stopping; subscribe again when it is back")
    await op.done()
