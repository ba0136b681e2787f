"""How links behave, and which of them are broken just now.

`Links` is what a world is built with and never changes; `LinkFaults` is what a scenario switches
on and off while it runs. Neither knows the engine.

Source of the list: TigerBeetle, src/testing/packet_simulator.zig (delay, loss, partition mode and
symmetry, clogged paths).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from primedht.ids import PeerId


class Latency(Protocol):
    """How long a message takes from one host to another."""

    def one_way_s(self, source: int, target: int, rng: Random) -> float:
        """Return the seconds for one message between the hosts with these indexes."""
        ...

    def mean_one_way_s(self) -> float:
        """Return the mean over all pairs, in seconds."""
        ...


@dataclass(frozen=True, slots=True)
class ConstantLatency:
    """Every message takes equally long."""

    seconds: float

    def one_way_s(self, source: int, target: int, rng: Random) -> float:
        return self.seconds

    def mean_one_way_s(self) -> float:
        return self.seconds


@dataclass(frozen=True, slots=True)
class UniformLatency:
    """Every message draws its own delay between two bounds."""

    low_s: float
    high_s: float

    def one_way_s(self, source: int, target: int, rng: Random) -> float:
        return rng.uniform(self.low_s, self.high_s)

    def mean_one_way_s(self) -> float:
        return (self.low_s + self.high_s) / 2


@dataclass(frozen=True, slots=True)
class PairLatency:
    """Every pair of hosts has a delay of its own between two bounds, and up to `jitter` of it more."""

    low_s: float
    high_s: float
    jitter: float = 0.1

    def one_way_s(self, source: int, target: int, rng: Random) -> float:
        low, high = sorted((source, target))
        place = (low * 0x9E3779B1 + high * 0x85EBCA6B >> 7 & 0xFFFF) / 0x10000
        return (self.low_s + place * (self.high_s - self.low_s)) * (1 + self.jitter * rng.random())

    def mean_one_way_s(self) -> float:
        return (self.low_s + self.high_s) / 2 * (1 + self.jitter / 2)


@dataclass(frozen=True, slots=True)
class Links:
    """The healthy network.

    loss: share of messages that vanish, each direction by itself; the sender waits in vain.
    bytes_per_s: what a sender's line carries of one message at a time; None means no limit.
    handshake_round_trips: TCP, Noise and the negotiation of both, before a first request can go.
    """

    latency: Latency = field(default_factory=lambda: UniformLatency(0.010, 0.050))
    loss: float = 0.0
    bytes_per_s: float | None = None
    handshake_round_trips: int = 3


@dataclass(frozen=True, slots=True)
class Faults:
    """What is wrong with a world's nodes from the start.

    clock_skew_s: each node's wall clock is off by up to this much, either way.
    store_error_rate: share of store calls that raise `StoreUnavailable`.
    """

    clock_skew_s: float = 0.0
    store_error_rate: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """Messages from any of `sources` to any of `targets` vanish; None means everybody."""

    sources: frozenset[PeerId] | None
    targets: frozenset[PeerId] | None

    def covers(self, source: PeerId, target: PeerId) -> bool:
        return (self.sources is None or source in self.sources) and (
            self.targets is None or target in self.targets
        )


class LinkFaults:
    """The links that are broken or slow just now. `on_blocked` is called after each that breaks."""

    def __init__(self, on_blocked: Callable[[], None]) -> None:
        self._on_blocked = on_blocked
        self._cuts: dict[Cut, None] = {}
        self._blackholed: dict[PeerId, None] = {}
        self._extra_s: dict[PeerId, float] = {}

    def blocks(self, source: PeerId, target: PeerId) -> bool:
        """Whether a message from `source` to `target` vanishes now."""
        if source in self._blackholed or target in self._blackholed:
            return True
        return any(cut.covers(source, target) for cut in self._cuts)

    def extra_s(self, source: PeerId, target: PeerId) -> float:
        """Return the delay that slow hosts at either end add, in seconds."""
        if not self._extra_s:
            return 0.0
        return self._extra_s.get(source, 0.0) + self._extra_s.get(target, 0.0)

    def partition(self, one_side: Iterable[PeerId], other_side: Iterable[PeerId]) -> tuple[Cut, ...]:
        """Separate two groups in both directions; `heal` takes what this returns."""
        one, other = frozenset(one_side), frozenset(other_side)
        return self._add(Cut(one, other)) + self._add(Cut(other, one))

    def partition_one_way(self, sources: Iterable[PeerId], targets: Iterable[PeerId]) -> tuple[Cut, ...]:
        """Let nothing through from `sources` to `targets`; the way back stays open."""
        return self._add(Cut(frozenset(sources), frozenset(targets)))

    def heal(self, cuts: Iterable[Cut] | None = None) -> None:
        """Mend these cuts; without an argument, all of them."""
        for cut in tuple(self._cuts) if cuts is None else cuts:
            self._cuts.pop(cut, None)

    def blackhole(self, peer: PeerId, active: bool = True) -> None:
        """Let everything to and from `peer` vanish without a reset, or stop doing so."""
        if active:
            self._blackholed[peer] = None
            self._on_blocked()
        else:
            self._blackholed.pop(peer, None)

    def slow(self, peer: PeerId, extra_one_way_s: float) -> None:
        """Delay each message to or from `peer` by `extra_one_way_s` more; 0 makes it normal again."""
        self._extra_s[peer] = extra_one_way_s

    def _add(self, cut: Cut) -> tuple[Cut, ...]:
        self._cuts[cut] = None
        self._on_blocked()
        return (cut,)
