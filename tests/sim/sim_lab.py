"""Bare hosts on a simulated network, for the tests of the simulator's own ports."""

import hashlib

from primedht.kad.messages import Message, MessageType
from primedht.sim.addresses import host_addr, private_ip
from primedht.sim.peer import KeyPair, SimPeer, answering

PROTOCOL = "/sim/kad/1.0.0"
ONE_WAY_S = 0.010

FIND = Message(MessageType.FIND_NODE, key=b"target")


class Lab:
    """Hosts are numbered in order of creation; each starts with an answering script."""

    def __init__(self, network):
        self.network = network
        self.peers = []

    async def add(self, script=None, *, serves=True, protocol=PROTOCOL, **options):
        number = len(self.peers)
        keys = KeyPair.from_seed(hashlib.sha256(b"lab %d" % number).digest())
        addrs = (host_addr(private_ip(number)),)
        host = self.network.add_host(keys.peer, addrs, protocol=protocol, **options)
        peer = SimPeer(keys, host, script or answering())
        await peer.start(serves=serves)
        for other in self.peers:
            other.host.address_book.add(peer.peer, addrs, ttl_s=1e9)
            host.address_book.add(other.peer, other.host.address_book.own_addrs(), ttl_s=1e9)
        self.peers.append(peer)
        return peer

    async def restart(self, peer):
        host = self.network.add_host(peer.peer, peer.info.addrs, protocol=PROTOCOL)
        again = SimPeer(peer.keys, host, peer.script)
        await again.start()
        return again


class Listener:
    """Notes what it is told, in order."""

    def __init__(self):
        self.events = []

    def on_identified(self, peer, protocols):
        self.events.append(("identified", peer, PROTOCOL in protocols))

    def on_disconnected(self, peer):
        self.events.append(("disconnected", peer))

    def on_own_addrs_changed(self):
        self.events.append(("own_addrs",))
