"""The result of one run: for programs (`to_json`), and the rows that people read (`to_rows`)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from primedht.sim.measures import Measures, Summary, spread
from primedht.units import format_duration, format_size


@dataclass(frozen=True, slots=True)
class Result:
    """Everything that one run measured; times are seconds, sizes bytes.

    loads: requests and replies received over the whole run, per node.
    failures: what checkers found; none is what every run should have.
    """

    scenario: str
    nodes: int
    seed: int
    virtual_s: float
    real_s: float
    memory_mib: float
    parameters: Mapping[str, float]
    measures: Measures
    loads: tuple[float, ...]
    messages_by_type: Mapping[str, int]
    messages_per_node_hour: float
    bytes_per_node_hour: float
    events_count: int
    digest: str
    failures: tuple[str, ...]
    command: str

    @property
    def load(self) -> dict[str, float]:
        """How evenly the load lies (`spread`)."""
        return spread(self.loads)

    @property
    def success_rate(self) -> float:
        """The share of reads by live nodes that returned the newest acknowledged unexpired value."""
        return self.measures.success_rate

    @property
    def hops_mean(self) -> float:
        """Of lookups; of reads or searches for providers where a scenario has no lookups of its own."""
        return self._walks().hops_mean

    @property
    def messages_per_lookup(self) -> float:
        """Requests and replies that one lookup, or one read, sets off."""
        return self._walks().messages_mean

    def _walks(self) -> Summary:
        kinds = [kind for kind in ("lookup", "get", "find_providers") if self.measures.samples.get(kind)]
        return self.measures.summary(kinds[0] if kinds else "lookup")

    def to_json(self) -> dict[str, Any]:
        """Return plain data; the fields are stable, some may be added."""
        measures = self.measures
        return {
            "scenario": self.scenario,
            "nodes": self.nodes,
            "seed": self.seed,
            "success_rate": self.success_rate,
            "reads": measures.reads,
            "bad_reads": dict(measures.bad_reads),
            "hops_mean": self.hops_mean,
            "messages_per_lookup": self.messages_per_lookup,
            "operations": {
                kind: asdict(measures.summary(kind)) for kind in measures.samples if measures.samples[kind]
            },
            "load": self.load,
            "messages_by_type": dict(self.messages_by_type),
            "messages_per_node_hour": self.messages_per_node_hour,
            "bytes_per_node_hour": self.bytes_per_node_hour,
            "figures": dict(measures.figures),
            "parameters": dict(self.parameters),
            "virtual_s": self.virtual_s,
            "real_s": self.real_s,
            "memory_mib": self.memory_mib,
            "events": self.events_count,
            "digest": self.digest,
            "failures": list(self.failures),
            "command": self.command,
        }

    def operation_rows(self) -> Iterator[tuple[str, ...]]:
        """Yield a row per kind of operation: how many, hops, messages, bytes, latency in round trips."""
        for kind in self.measures.samples:
            found = self.measures.summary(kind)
            rtts = [f"{found.rtts[name]:.1f}" if found.rtts else "-" for name in ("p50", "p90", "p99")]
            yield (
                kind,
                f"{found.ok_count}/{found.count}",
                f"{found.hops_mean:.2f}" if found.hops_mean else "-",
                f"{found.messages_mean:.1f}",
                format_size(found.bytes_mean),
                *rtts,
                format_duration(found.seconds["p50"]) if found.seconds else "-",
            )

    def figure_rows(self) -> Iterator[tuple[str, str]]:
        """Yield what else there is to say, as name and text."""
        measures = self.measures
        if measures.reads:
            bad = ", ".join(f"{count} {what}" for what, count in sorted(measures.bad_reads.items()))
            yield "success rate", f"{self.success_rate:.4%} of {measures.reads} reads{bad and f' ({bad})'}"
        load = self.load
        if load:
            yield (
                "load per node",
                f"{load['mean']:.0f} messages received; p99 {load['p99']:.0f},"
                f" max {load['max']:.0f} ({load['max_over_mean']:.1f} x the mean)",
            )
        yield (
            "traffic per node",
            f"{self.messages_per_node_hour:.0f} messages, {format_size(self.bytes_per_node_hour)} per hour",
        )
        yield "mean round trip", format_duration(measures.round_trip_s)
        if self.nodes > 1:
            yield "log2(nodes)", f"{math.log2(self.nodes):.1f}"
        for name, value in measures.figures.items():
            yield name.replace("_", " "), value if isinstance(value, str) else f"{value:.4g}"
        yield (
            "run",
            f"{format_duration(self.virtual_s)} virtual in {format_duration(self.real_s)} real,"
            f" {self.events_count} events, {self.memory_mib:.0f} MiB",
        )
        yield "digest", self.digest
