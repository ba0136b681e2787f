"""How long peers stay, and a task for each that comes and goes accordingly.

Measured sessions are not exponential but Weibull with a shape below 1: many are short, and those that
have lasted are likely to last. With shape 1 the same formula is the exponential distribution, under
which every peer is as likely to go as any other: the harder case for the same median.

Source: Steiner, En-Najjary and Biersack, "Long Term Study of Peer Behavior in the KAD DHT" (2009):
Weibull; Stutzbach and Rejaie, "Understanding Churn in Peer-to-Peer Networks" (2006): not exponential;
probe-lab, RFM 2, "Uptime and Churn": half of the IPFS network's new peers leave within 2 hours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import NoReturn

import trio

from primedht.sim.node import SimNode

IPFS_MEDIAN_S = 2 * 3600.0
WEIBULL_SHAPE = 0.6
"""Ours: the papers' fits lie between a third and two thirds."""


@dataclass(frozen=True, slots=True)
class Sessions:
    """Weibull sessions with this median in seconds; shape 1 is exponential."""

    median_s: float
    shape: float = 1.0

    @property
    def mean_s(self) -> float:
        return self._scale_s * math.gamma(1 + 1 / self.shape)

    def draw_s(self, rng: Random) -> float:
        """Return the length of one whole session."""
        return self._scale_s * rng.weibullvariate(1.0, self.shape)

    def draw_rest_s(self, rng: Random) -> float:
        """Return how much longer a peer stays that is met at a random moment of its session.

        Long sessions are met more often, in proportion to their length.
        """
        drawn = [self.draw_s(rng) for _ in range(32)]
        return rng.choices(drawn, weights=drawn)[0] * rng.random()

    @property
    def _scale_s(self) -> float:
        return float(self.median_s / math.log(2) ** (1 / self.shape))


@dataclass(slots=True)
class Churn:
    """How nodes come and go; its tasks count what they did.

    sessions: of nodes that are up. down: how long they are away. silent_share: crashes that reset
    nothing, as of an unplugged machine; orderly_share: ends with a hand-over; the others crash.
    keep_share: restarts that find the store of before.
    """

    sessions: Sessions
    down: Sessions
    silent_share: float = 0.5
    orderly_share: float = 0.0
    keep_share: float = 0.0
    ends_count: int = 0
    restarts_count: int = 0

    def start(self, nursery: trio.Nursery, nodes: Sequence[SimNode], seed: int) -> None:
        """Let each of `nodes`, all up, come and go until `nursery` is cancelled."""
        for node in nodes:
            nursery.start_soon(self._live, node, Random(f"churn {seed}/{node.index}"))

    async def _live(self, node: SimNode, rng: Random) -> NoReturn:
        await trio.sleep(self.sessions.draw_rest_s(rng))
        while True:
            if rng.random() < self.orderly_share:
                await node.stop()
            else:
                await node.crash(silent=rng.random() < self.silent_share)
            self.ends_count += 1
            await trio.sleep(self.down.draw_s(rng))
            await node.restart(keep_store=rng.random() < self.keep_share)
            self.restarts_count += 1
            await trio.sleep(self.sessions.draw_s(rng))
