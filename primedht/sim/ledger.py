"""What the network has acknowledged, and so must answer, told apart from the engine.

A read may return whatever was the newest acknowledged write at any moment while it ran, or one that was
under way then. A write that failed may have reached somebody: until a later one of its key succeeds, its
value may turn up or not.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from primedht.results import FoundValue, PutResult
from primedht.sim.checkers import CheckFailed
from primedht.sim.clock import true_unix_now
from primedht.sim.node import SimNode

Judgement = Literal["ok", "missing", "stale", "expired", "deleted", "foreign"]
"""What a read brought: what it must, nothing though there is something, an earlier value, one whose
time was up, one that was deleted, or one that nobody ever wrote."""


@dataclass(frozen=True, slots=True)
class Written:
    """A write that was acknowledged. value None: it deleted. Times are true Unix seconds."""

    value: bytes | None
    expires_unix_s: float


class Reading(NamedTuple):
    """When a read began, and how many writes of its key were acknowledged by then."""

    began_unix_s: float
    writes_count: int


@dataclass(slots=True)
class _History:
    acknowledged: list[Written] = field(default_factory=list)
    attempted: dict[bytes, None] = field(default_factory=dict)
    open: dict[bytes, None] = field(default_factory=dict)  # under way, or failed since the last success


class Ledger:
    """Every write of a simulation. Clocks may err by `skew_s` either way."""

    def __init__(self, *, skew_s: float = 0.0) -> None:
        self._skew_s = skew_s
        self._keys: dict[bytes, _History] = {}

    @property
    def keys(self) -> tuple[bytes, ...]:
        """Every key that has an acknowledged write, in order of the first."""
        return tuple(key for key, history in self._keys.items() if history.acknowledged)

    def newest(self, key: bytes) -> Written:
        """Return the last acknowledged write of `key`. Raises `KeyError`."""
        history = self._keys[key]
        if not history.acknowledged:
            raise KeyError(key)
        return history.acknowledged[-1]

    def is_current(self, key: bytes, value: bytes) -> bool:
        """Whether `value` is the newest write of `key`, or one that failed since and may be out."""
        history = self._keys[key]
        return value == self.newest(key).value or value in history.open

    def on_attempt(self, key: bytes, value: bytes) -> None:
        """Note that a put begins: from now on its value may be found."""
        history = self._keys.setdefault(key, _History())
        history.attempted[value] = history.open[value] = None

    def on_put(self, result: PutResult, value: bytes) -> None:
        """Note an acknowledged put."""
        self._acknowledge(result.key, Written(value, result.expires_unix_s))

    def on_delete(self, key: bytes) -> None:
        """Note an acknowledged deletion."""
        self._acknowledge(key, Written(None, 0.0))

    def begin_read(self, key: bytes) -> Reading:
        """Return what `judge` must know of a read that begins now."""
        return Reading(true_unix_now(), len(self._keys[key].acknowledged))

    def judge(self, key: bytes, found: FoundValue | None, reading: Reading | None = None) -> Judgement:
        """Say what `found`, or its absence, is worth; without `reading` it was read just now."""
        history = self._keys[key]
        reading = reading or self.begin_read(key)
        now = true_unix_now()
        writes = history.acknowledged
        allowed = writes[reading.writes_count - 1 :]
        newest = writes[-1]
        if found is None:
            certain = all(
                written.value is not None and now < written.expires_unix_s - self._skew_s
                for written in allowed
            )
            return "missing" if certain else "ok"
        if found.value in history.open:
            return "ok"
        same = [written for written in allowed if written.value == found.value]
        if any(reading.began_unix_s <= written.expires_unix_s + self._skew_s for written in same):
            return "ok"
        if same:
            return "expired"
        if newest.value is None:
            return "deleted"
        return "stale" if found.value in history.attempted else "foreign"

    def check(self, key: bytes, found: FoundValue | None) -> None:
        """`found`, or its absence, must be what the ledger says of `key` now. Raises `CheckFailed`."""
        judgement = self.judge(key, found)
        if judgement == "missing":
            raise CheckFailed(f"an acknowledged value of {key!r} was not found")
        if judgement != "ok":
            value = b"" if found is None else found.value[:40]
            raise CheckFailed(f"{key!r} gave {value!r}, which is {judgement}")

    async def check_lives(self, nodes: Iterable[SimNode]) -> None:
        """No copy anywhere may outlive what its put acknowledged: repair lengthens no life."""
        keys = frozenset(self.keys)
        for node in nodes:
            for key in [held.key for held in node.dht.storage.entries() if held.key in keys]:
                written = self.newest(key)
                record = await node.dht.storage.get(key)
                if record is None or record.value != written.value:
                    continue
                if record.expires_unix_s > written.expires_unix_s + 2 * self._skew_s + 1:
                    late_s = record.expires_unix_s - written.expires_unix_s
                    raise CheckFailed(f"{node}'s copy of {key!r} lives {late_s:.1f} s too long")

    def _acknowledge(self, key: bytes, written: Written) -> None:
        history = self._keys.setdefault(key, _History())
        history.acknowledged.append(written)
        if written.value is not None:
            history.attempted[written.value] = None
        history.open.clear()
