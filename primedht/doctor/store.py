"""Checks of the store: whether it keeps what it acknowledges, and how full it is."""

from __future__ import annotations

from primedht.findings import Finding
from primedht.node import Node
from primedht.units import format_size


async def check_store(node: Node) -> list[Finding]:
    """Check durability, corruption and the quota of records."""
    stats, quotas = node.dht.storage.stats(), node.dht.config.quotas
    findings = []
    if stats.corrupt:
        text = f"{stats.corrupt} records could not be read as they were written"
        findings.append(Finding.problem("store", "store_corrupt", text))
    durable = node.store_is_durable
    if not durable:
        may = "may lose" if durable is None else "loses"
        text = f"{node.backend} {may} acknowledged records when it ends unasked"
        findings.append(Finding.problem("store", "store_not_durable", text))
    text = f"{stats.records} {'record' if stats.records == 1 else 'records'}, {format_size(stats.bytes_used)}"
    if quotas.records_bytes_max:
        text += f" of {format_size(quotas.records_bytes_max)}"
        if stats.bytes_used > 0.9 * quotas.records_bytes_max:
            text += f"; {stats.evicted} gave way to nearer ones"
            findings.append(Finding.problem("store", "store_nearly_full", text))
    if not findings:
        findings.append(Finding.good("store", f"{text}, in {node.backend}, durable"))
    return findings


def growth_bytes_max(node: Node) -> int:
    """Return by how many bytes the quotas let the store grow; 0 where there is no limit."""
    quotas, used = node.dht.config.quotas, node.dht.storage.stats().bytes_used
    if not (quotas.records_bytes_max and quotas.provider_bytes_max):
        return 0
    return max(0, quotas.records_bytes_max - used) + quotas.provider_bytes_max
