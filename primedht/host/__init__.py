"""The libp2p edge: TCP, Noise and Yamux behind the ports of `dht.ports`; the only importer of libp2p."""

from primedht.host.host import Host, HostConfig, open_host
from primedht.host.keys import generate_private_key, peer_id_of
from primedht.host.swarm import ConnectionLimits

__all__ = [
    "open_host",
    "Host",
    "HostConfig",
    "ConnectionLimits",
    "generate_private_key",
    "peer_id_of",
]
