"""Puts a node together: which parts it is made of, and in which order they begin and end.

Each part is a context manager that owns its tasks; whatever is opened later ends first.
"""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

from primedht.blocks.big_values import BigValues, open_big_values
from primedht.blocks.bitswap.bitswap import open_bitswap
from primedht.blocks.blocks import open_blocks
from primedht.blocks.replicate.offered import HeldValue
from primedht.blocks.replicate.replicas import ReplicaQuotas
from primedht.blocks.replicate.replication import open_replication
from primedht.clock import SystemClock
from primedht.config import Config, NodeConfig
from primedht.datadir import DataDir, open_data_dir
from primedht.dht.config import DhtConfig
from primedht.dht.dht import Dht, open_dht
from primedht.dht.ports import Ports
from primedht.errors import ConfigInvalid
from primedht.host.host import Host, HostConfig, open_host
from primedht.host.swarm import ConnectionLimits
from primedht.ids import PeerId
from primedht.jobs import Jobs
from primedht.kad.messages import PeerInfo
from primedht.keys import PrivateKey
from primedht.keystore import Keystore
from primedht.logs import quieten_unconfigured
from primedht.node import Node
from primedht.peer_addr import to_multiaddr
from primedht.psk import Psk, read_psk_file
from primedht.records.validator import RecordValidator
from primedht.signing import Signing
from primedht.stores.backends import open_backend
from primedht.stores.kv import KeyValue
from primedht.tasks import open_background_nursery


@asynccontextmanager
async def open_node(
    config: Config | None = None,
    *,
    dht: DhtConfig | None = None,
    data_dir: DataDir | Path | str | None = None,
    bootstrap: Sequence[str] = (),
    storage: KeyValue | None = None,
) -> AsyncIterator[Node]:
    """Run a node until the block is left.

    Args:
        config: everything; default a private node in memory on a free port of every interface.
        dht: the engine's parameters, in the place of those that `config` gives.
        data_dir: where identity and store are kept; None is `config.node.data_dir`, or in memory.
        bootstrap: HOST:PORT or multiaddrs to join through, beside those of `config`.
        storage: a backend of your own, closed by you.
    Raises: the `LocalError` that keeps it from starting.
    """
    quieten_unconfigured()
    if config is None:
        config = Config(node=NodeConfig(listen=("/ip4/0.0.0.0/tcp/0",)))
    parameters = config.to_dht_config()
    if dht is not None:
        parameters = dht.with_changes(network_id=config.protocol_id, network_kind=config.network.kind)
    addrs = (*config.node.bootstrap, *map(to_multiaddr, bootstrap))
    psk = _psk(config)
    async with AsyncExitStack() as stack:
        directory = data_dir if data_dir is not None else config.node.data_dir
        if directory is not None and not isinstance(directory, DataDir):
            directory = stack.enter_context(
                open_data_dir(Path(directory), allow_network_fs=config.node.allow_network_fs)
            )
        identity = directory.identity() if directory is not None else PrivateKey.generate()
        keystore = Keystore(directory.keys_path) if directory is not None else None
        backend = "custom"
        if storage is None:
            backend = config.storage.backend if directory is not None or config.storage.url else "memory"
            storage = await stack.enter_async_context(
                open_backend(
                    backend,
                    path=directory.store_path if directory is not None else None,
                    url=config.storage.url,
                    prefix=bytes(identity.peer_id),
                    durable=config.storage.durable,
                )
            )
        host = await stack.enter_async_context(
            open_host(identity.serialize(), _host_config(config, parameters, addrs, psk))
        )
        ports = Ports(host.rpc, host.address_book, host.connections, SystemClock(), random.SystemRandom())
        engine = await stack.enter_async_context(open_dht(ports, storage, parameters, bootstrap=addrs))
        if config.mdns_enabled:
            nursery = await stack.enter_async_context(open_background_nursery())
            nursery.start_soon(_serve_mdns, host, engine)
        blocks = await stack.enter_async_context(
            open_blocks(
                storage,
                ports.clock,
                path=directory.blocks_path if directory is not None else None,
                bytes_max=config.quotas.blocks_bytes_max or None,
                providing=engine,
            )
        )
        blocks.exchange = await stack.enter_async_context(
            open_bitswap(
                *(host.connections, host.streams, blocks.store, engine.find_providers),
                compresses=config.blocks.compression == "zstd",
            )
        )
        values = await stack.enter_async_context(
            open_big_values(
                blocks,
                inline_bytes_max=config.records.inline_bytes_max,
                kept_keys=lambda: [entry.key for entry in engine.storage.own_entries()],
            )
        )
        replication = None
        if parameters.network_kind == "private":
            replication = await stack.enter_async_context(
                open_replication(
                    *(host.streams, engine, blocks, storage, ports.clock, ports.rng, identity),
                    RecordValidator(
                        network_id=parameters.network_id,
                        network_kind=parameters.network_kind,
                        ipfs_keys_only=parameters.ipfs_keys_only,
                    ),
                    partial(_own_values, engine, values),
                    network_id=parameters.network_id,
                    copies=parameters.replication_factor,
                    quotas=ReplicaQuotas(
                        config.replicate.bytes_max,
                        config.replicate.peer_share,
                        config.replicate.ip_block_share,
                    ),
                    has_psk=psk is not None,
                    allowed=frozenset(map(PeerId.from_text, config.replicate.allow)),
                )
            )
            engine.peers.watch(left=replication.on_departed)
        path = directory.path if directory is not None else None
        signing = Signing(identity, keystore, parameters.network_id)
        jobs = Jobs(await stack.enter_async_context(open_background_nursery()))
        node = Node(
            *(config, engine, blocks, values, replication, host, signing, storage, backend, path),
            jobs,
        )
        await node.checkpoints.resume()
        yield node


async def _own_values(engine: Dht, values: BigValues) -> list[HeldValue]:
    """Return this node's own records of values whose blocks others keep too."""
    keys = [entry.key for entry in engine.storage.own_entries() if values.may_have(entry.key)]
    records = [await engine.storage.own_record(key) for key in keys]
    return [
        HeldValue(record.key, record.value, record.expires_unix_s, own=True)
        for record in records
        if record is not None
    ]


async def _serve_mdns(host: Host, dht: Dht) -> None:
    from primedht.host.mdns import serve_mdns

    def on_found(info: PeerInfo) -> None:
        dht.peers.hear([info], how="mdns")

    await serve_mdns(host, on_found)


def _psk(config: Config) -> Psk | None:
    """Return the key of a private network that has one. Raises `PskUnreadable`, `MalformedKey`."""
    if config.network.psk_file is not None:
        return read_psk_file(config.network.psk_file)
    # libp2p specs, pnet/Private-Networks-PSK-V1.md, "Safeguard".
    if os.environ.get("LIBP2P_FORCE_PNET") == "1":
        raise ConfigInvalid("LIBP2P_FORCE_PNET=1 forbids a node without a key; set network.psk_file")
    return None


def _host_config(config: Config, dht: DhtConfig, bootstrap: Sequence[str], psk: Psk | None) -> HostConfig:
    caps = config.limits
    return HostConfig(
        listen=config.node.listen,
        announce=config.node.announce,
        kad_protocol=dht.network_id,
        network_kind=dht.network_kind,
        allowed=tuple(bootstrap),
        transport=config.node.transport,
        psk=psk,
        upload_bytes_per_s=caps.upload_rate,
        download_bytes_per_s=caps.download_rate,
        connections=ConnectionLimits(
            low=caps.connections_low,
            high=caps.connections_high,
            max=caps.connections_max,
            grace_s=caps.connections_grace,
            inbound_per_ip_max=caps.inbound_per_ip_max,
        ),
    )
