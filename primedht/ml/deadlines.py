"""Time limits of operations that fetch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio

from primedht.errors import OperationTimeout


@contextmanager
def within(timeout_s: float, what: str) -> Iterator[None]:
    """Raise `OperationTimeout` if the block takes longer."""
    try:
        with trio.fail_after(timeout_s):
            yield
    except trio.TooSlowError:
        raise OperationTimeout(f"{what} was not here within {timeout_s:g} s; what came is kept") from None
