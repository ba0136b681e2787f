"""What a node's status says, on a node in memory."""

import json

from primedht import limits
from primedht.assembly import open_node
from primedht.config import Config, NetworkConfig, NodeConfig


async def test_it_tells_quotas_and_what_is_kept_alive(monkeypatch) -> None:
    monkeypatch.setattr(limits, "STATUS_KEPT_ALIVE_MAX", 2)
    config = Config(
        node=NodeConfig(listen=("/ip4/127.0.0.1/tcp/0",), mdns=False), network=NetworkConfig(name="test")
    )
    async with open_node(config) as node:
        await node.put("a", b"v" * 7)
        await node.put("soonest", b"v", ttl=60)
        await node.put("c", b"v", ttl=600)
        await node.put("not ours to keep", b"v", once=True)
        status = json.loads(json.dumps(node.status()))
    storage = status["storage"]
    assert (storage["kept_alive"], storage["records"]) == (3, 4)
    assert 0 < storage["bytes"] < storage["bytes_max"] == config.to_dht_config().quotas.records_bytes_max
    assert status["providers"]["bytes"] == 0 < status["providers"]["bytes_max"]
    assert [each["key"] for each in status["kept_alive"]] == ["soonest", "c"]
    soonest = status["kept_alive"][0]
    assert soonest["bytes"] == 1
    assert soonest["republish_unix_s"] < soonest["expires_unix_s"]
    assert status["uptime_s"] >= 0
