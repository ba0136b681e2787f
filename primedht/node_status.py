"""What a node says of itself, as JSON-able values: `Node.status`, `primedht status` and doctor."""

from __future__ import annotations

from heapq import nsmallest
from typing import TYPE_CHECKING

import trio

from primedht import limits
from primedht.dht.dht import Dht
from primedht.records.keys import format_key

if TYPE_CHECKING:
    from primedht.node import Node


def node_status(node: Node) -> dict[str, object]:
    dht, replication = node.dht, node.replication
    values, providers = dht.storage.stats(), dht.providers.store.stats()
    return {
        "peer_id": str(node.peer_id),
        "addrs": node.addrs,
        "network": {
            "kind": dht.config.network_kind,
            "protocol": dht.config.network_id,
            "psk_fingerprint": None if node.host.psk is None else node.host.psk.fingerprint,
        },
        "mode": {"serving": dht.mode.serving, "reason": dht.mode.reason},
        "uptime_s": round(node.uptime_s, 1),
        "routing_table": {
            "peers": len(dht.routing_table),
            "bucket_sizes": dht.routing_table.bucket_sizes(),
            "bucket_size_max": dht.config.k_bucket_size,
            "why_empty": dht.bootstrap.why_empty(),
            "network_size_estimate": dht.lookups.network_size.estimate(trio.current_time()),
        },
        "bootstrap": [
            {"addr": attempt.addr, "code": attempt.code, "detail": attempt.detail}
            for attempt in dht.bootstrap.attempts.values()
        ],
        "storage": {
            "backend": node.backend,
            "durable": node.store_is_durable,
            "records": values.records,
            "bytes": values.bytes_used,
            "by_namespace": dict(values.by_namespace),
            "bytes_max": dht.config.quotas.records_bytes_max,
            "records_max": dht.config.quotas.records_max,
            "kept_alive": values.own,
            "evicted": values.evicted,
            "refused": values.refused,
            "corrupt": values.corrupt,
        },
        "kept_alive": _kept_alive(dht),
        "blocks": node.blocks.status(),
        "replicate": None if replication is None else replication.status(),
        "providers": {
            "keys": providers.keys,
            "records": providers.records,
            "provided": providers.own,
            "bytes": providers.bytes_used,
            "bytes_max": dht.config.quotas.provider_bytes_max,
        },
        "repair": {"copies_sent": dht.repair.sent},
        "jobs": node.jobs.status(),
        "host": node.host.stats(),
    }


def _kept_alive(dht: Dht) -> list[dict[str, object]]:
    """Return the values of our own that are put again soonest."""
    own = dht.storage.own_entries()
    soonest = nsmallest(limits.STATUS_KEPT_ALIVE_MAX, own, key=lambda entry: entry.republish_unix_s)
    return [
        {
            "key": format_key(entry.key),
            "bytes": entry.value_bytes,
            "expires_unix_s": entry.expires_unix_s,
            "republish_unix_s": entry.republish_unix_s,
        }
        for entry in soonest
    ]
