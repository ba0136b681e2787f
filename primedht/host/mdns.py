"""mDNS: peers of the local network, found without any configuration.

A service under `_p2p._udp.local` whose TXT record carries the addresses as `dnsaddr=` strings. Peers
of every network answer under the same name; whether one serves our protocol, identify tells.

Source: libp2p specs, discovery/mdns.md.
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn

import structlog
import trio
from zeroconf import Error as ZeroconfError
from zeroconf import InterfaceChoice, ServiceBrowser, ServiceInfo, ServiceStateChange, Zeroconf

from primedht import limits
from primedht.errors import InvalidArgument
from primedht.host.host import Host
from primedht.host.supervise import PEER_FAULTS, supervised
from primedht.ids import PeerId
from primedht.kad.messages import PeerInfo
from primedht.wire import addrs as wire

log = structlog.get_logger(__name__)

SERVICE = "_p2p._udp.local."
_PREFIX = b"dnsaddr="
_STRING_BYTES_MAX = 255  # RFC 1035, 3.3: <character-string>
_NAME_CHARS = 40  # the spec asks for 32 to 63
_LOOKUPS_AT_ONCE = 4
_LOOKUP_TIMEOUT_MS = 3000
_PORT = 4001  # required by the record's form; nobody reads it


def encode_txt(peer: PeerId, addrs: Sequence[bytes]) -> bytes:
    """Return the TXT data that announces `peer` at `addrs`; loopback only if there is nothing else."""
    outside = [addr for addr in addrs if not wire.is_loopback(addr)]
    out = b""
    for addr in outside or addrs:
        entry = _PREFIX + wire.format_addr(addr + wire.peer_suffix(peer)).encode()
        if len(entry) <= _STRING_BYTES_MAX:
            out += bytes([len(entry)]) + entry
    return out


def decode_txt(data: bytes) -> list[PeerInfo]:
    """Return the peers that TXT data announces, with their addresses; skips what makes no sense."""
    found: dict[PeerId, list[bytes]] = {}
    for entry in _strings(data):
        if not entry.startswith(_PREFIX):
            continue
        try:
            addr, peer = wire.split_peer(wire.parse(entry[len(_PREFIX) :].decode("utf-8", "replace")))
        except InvalidArgument:
            continue
        if peer is not None and addr and len(found.setdefault(peer, [])) < limits.IDENTIFY_ADDRS_MAX:
            found[peer].append(addr)
    return [PeerInfo(peer, tuple(addrs)) for peer, addrs in found.items()]


def _strings(data: bytes) -> Iterator[bytes]:
    offset = 0
    while offset < len(data):
        end = offset + 1 + data[offset]
        yield data[offset + 1 : end]
        offset = end


class _AddrsWatch:
    """A `PeerListener` for the one event that concerns us."""

    def __init__(self) -> None:
        self.changed = trio.Event()

    def on_identified(self, peer: PeerId, protocols: frozenset[str]) -> None:
        pass

    def on_disconnected(self, peer: PeerId) -> None:
        pass

    def on_own_addrs_changed(self) -> None:
        self.changed.set()
        self.changed = trio.Event()


async def serve_mdns(
    host: Host, on_found: Callable[[PeerInfo], None], *, interfaces: Sequence[str] = ()
) -> NoReturn:
    """Announce `host` and call `on_found` with every peer heard of, until cancelled.

    interfaces: their IP addresses; all interfaces when empty. Tries again while the machine has none
    that does multicast.
    """

    def start() -> Zeroconf:
        return Zeroconf(interfaces=list(interfaces) or InterfaceChoice.All)

    while True:
        try:
            zeroconf = await trio.to_thread.run_sync(start)
        except (OSError, ZeroconfError) as error:
            log.warning("mdns_unavailable", error=str(error))
            await trio.sleep(limits.INTERFACES_POLL_S)
            continue
        try:
            await _serve(zeroconf, host, on_found)
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(zeroconf.close)


async def _serve(zeroconf: Zeroconf, host: Host, on_found: Callable[[PeerInfo], None]) -> NoReturn:
    token = trio.lowlevel.current_trio_token()
    send, receive = trio.open_memory_channel[str](limits.MDNS_NAMES_MAX)
    places = trio.Semaphore(_LOOKUPS_AT_ONCE)

    def queue(name: str) -> None:
        try:
            send.send_nowait(name)
        except trio.WouldBlock:
            log.debug("mdns_name_dropped", name=name)

    async def look_up(name: str) -> None:
        async def report() -> None:
            for found in decode_txt(await _look_up(zeroconf, name)):
                if found.id != host.peer_id:
                    on_found(found)

        try:
            await supervised("mdns_lookup_failed", report, name, expected=(*PEER_FAULTS, ZeroconfError))
        finally:
            places.release()

    def on_change(zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        """Runs in zeroconf's thread."""
        if state_change is not ServiceStateChange.Removed:
            try:
                token.run_sync_soon(queue, name)
            except trio.RunFinishedError:
                return

    alphabet = string.ascii_lowercase + string.digits
    own_name = "".join(secrets.choice(alphabet) for _ in range(_NAME_CHARS)) + "." + SERVICE
    watch = _AddrsWatch()
    host.connections.subscribe(watch)
    browser = await trio.to_thread.run_sync(lambda: ServiceBrowser(zeroconf, SERVICE, handlers=[on_change]))
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_announce, zeroconf, host, own_name, watch)
            async for name in receive:
                if name != own_name:
                    await places.acquire()
                    nursery.start_soon(look_up, name)
            raise AssertionError("the channel is never closed")
    finally:
        browser.cancel()


async def _look_up(zeroconf: Zeroconf, name: str) -> bytes:
    """Return the TXT data of the service `name`, or nothing."""
    info = ServiceInfo(SERVICE, name)
    # Peers need not announce the SRV record that `request` waits for: the TXT record is enough.
    if not info.load_from_cache(zeroconf) and not info.text:
        await trio.to_thread.run_sync(
            info.request,
            zeroconf,
            _LOOKUP_TIMEOUT_MS,
            abandon_on_cancel=True,  # type: ignore[call-arg]
        )
    return info.text or b""


async def _announce(zeroconf: Zeroconf, host: Host, name: str, watch: _AddrsWatch) -> NoReturn:
    announced = False
    while True:
        changed = watch.changed
        info = ServiceInfo(
            SERVICE,
            name,
            port=_PORT,
            properties=encode_txt(host.peer_id, host.address_book.own_addrs()),
            server=name.removesuffix(SERVICE) + "local.",
        )
        try:
            await trio.to_thread.run_sync(
                zeroconf.update_service if announced else zeroconf.register_service, info
            )
            announced = True
        except (OSError, ZeroconfError) as error:
            log.warning("mdns_not_announced", error=str(error))
        await changed.wait()
