"""What a simulation measures: one sample per operation, and the sums over them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import trio


@dataclass(slots=True)
class Tally:
    """Messages and bytes of one operation, both ways, with all that it set off elsewhere."""

    messages: int = 0
    bytes: int = 0


TALLY: ContextVar[Tally | None] = ContextVar("tally", default=None)
"""The operation on whose behalf the current task sends; tasks inherit it from those that start them."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One operation. rtts: its time in mean round trips of the network. hops: 0 where it has none."""

    took_s: float
    rtts: float
    tally: Tally
    hops: int
    ok: bool


@dataclass(frozen=True, slots=True)
class Summary:
    """All operations of one kind. The last three are quantiles of those that succeeded."""

    count: int
    ok_count: int
    hops_mean: float
    messages_mean: float
    bytes_mean: float
    seconds: dict[str, float]
    rtts: dict[str, float]
    hops: dict[str, float]


@dataclass(frozen=True, slots=True)
class Series:
    """What a scenario wants drawn: points, or bars where x is a name. limit: the y that is allowed."""

    x_label: str
    y_label: str
    points: Sequence[tuple[float | str, float]]
    limit: float | None = None
    y_percent: bool = False


@dataclass(slots=True)
class Measures:
    """Samples by kind of operation ("lookup", "put", "get", ...), and reads by outcome.

    reads: issued by live nodes for values that were acknowledged and had not expired; good_reads:
    those that returned the newest. series: by title. timeline: virtual seconds, the phase that began
    by then, and the messages that the network had sent.
    """

    round_trip_s: float
    samples: dict[str, list[Sample]] = field(default_factory=lambda: defaultdict(list))
    reads: int = 0
    good_reads: int = 0
    bad_reads: Counter[str] = field(default_factory=Counter)
    figures: dict[str, float | str] = field(default_factory=dict)
    series: dict[str, Series] = field(default_factory=dict)
    timeline: list[tuple[float, str, int]] = field(default_factory=list)

    @contextmanager
    def operation(self, kind: str) -> Iterator[Operation]:
        """Measure the block as one operation, which failed unless it says that it is `ok`."""
        operation = Operation()
        token = TALLY.set(operation.tally)
        began = trio.current_time()
        try:
            yield operation
        finally:
            TALLY.reset(token)
            took_s = trio.current_time() - began
            self.samples[kind].append(
                Sample(took_s, took_s / self.round_trip_s, operation.tally, operation.hops, operation.ok)
            )

    def read(self, outcome: str) -> None:
        """Count a read: "ok", or what was wrong with it."""
        self.reads += 1
        if outcome == "ok":
            self.good_reads += 1
        else:
            self.bad_reads[outcome] += 1

    @property
    def success_rate(self) -> float:
        """The share of reads that returned the newest acknowledged unexpired value."""
        return self.good_reads / self.reads if self.reads else 0.0

    def summary(self, kind: str) -> Summary:
        """Return the sums over the operations of one kind."""
        samples = self.samples.get(kind, [])
        good = [sample for sample in samples if sample.ok]
        return Summary(
            count=len(samples),
            ok_count=len(good),
            hops_mean=mean(sample.hops for sample in good),
            messages_mean=mean(sample.tally.messages for sample in samples),
            bytes_mean=mean(sample.tally.bytes for sample in samples),
            seconds=quantiles([sample.took_s for sample in good]),
            rtts=quantiles([sample.rtts for sample in good]),
            hops=quantiles([sample.hops for sample in good]),
        )


@dataclass(slots=True)
class Operation:
    """One operation under way."""

    tally: Tally = field(default_factory=Tally)
    hops: int = 0
    ok: bool = False


def mean(numbers: Iterable[float]) -> float:
    """Return the mean, 0 of nothing."""
    found = list(numbers)
    return sum(found) / len(found) if found else 0.0


def quantiles(numbers: Sequence[float]) -> dict[str, float]:
    """Return the median, the 90th and 99th percentile and the maximum; empty of nothing."""
    ranked = sorted(numbers)
    if not ranked:
        return {}
    last = len(ranked) - 1
    return {name: ranked[round(at * last)] for name, at in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99))} | {
        "max": ranked[-1]
    }


def spread(counts: Sequence[float]) -> dict[str, float]:
    """Return how evenly a load lies: mean, 99th percentile and maximum, and the latter over the mean."""
    if not counts:
        return {}
    average = mean(counts)
    found = quantiles(counts)
    return {
        "mean": average,
        "p99": found["p99"],
        "max": found["max"],
        "max_over_mean": found["max"] / average if average else 0.0,
    }
