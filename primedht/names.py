"""IPNS names: `/ipns/<peer id>` points at a content path, signed by that peer's key.

A name's records are numbered; each one that is published here follows the highest known, be it held
here or found on the network. What is kept alive is signed anew with the same number and a later end.

Source: IPNS record spec (specs.ipfs.tech/ipns/ipns-record); docs/design.md, "Keys, values, lifetimes".
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from primedht import limits
from primedht.cids import parse_cid
from primedht.clock import WallClock
from primedht.errors import InvalidArgument, InvalidRecord, OperationTimeout, ValueNotFound
from primedht.ids import PeerId
from primedht.keys import PrivateKey
from primedht.records.ipns import IpnsData, make_ipns_record, parse_ipns_record
from primedht.records.keys import ipns_key, peer_of
from primedht.results import NameRecord, PublishedName
from primedht.units import format_duration

if TYPE_CHECKING:
    from primedht.dht.dht import Dht
    from primedht.records.record import ValidRecord

Signer = Callable[[PeerId], PrivateKey | None]
"""Returns the private key of a peer id, if it is here."""


class Names:
    """The IPNS names that one node publishes and resolves."""

    def __init__(self, dht: Dht, signer: Signer, clock: WallClock) -> None:
        self._dht = dht
        self._signer = signer
        self._clock = clock

    async def publish(
        self, key: PrivateKey, value: str, *, lifetime_s: float, keep: bool, timeout_s: float
    ) -> PublishedName:
        """Point the name of `key` at `value`, a content path or a CID; see `Node.publish_name`."""
        if not 0 < lifetime_s <= limits.IPNS_LIFETIME_S_MAX:
            raise InvalidArgument(
                f"the lifetime is {lifetime_s:g} s; it must be over 0, "
                f"and at most {format_duration(limits.IPNS_LIFETIME_S_MAX)}"
            )
        path = content_path(value)
        wire_key = ipns_key(key.peer_id)
        began = trio.current_time()
        known = await self._highest_sequence(wire_key, timeout_s=timeout_s / 2)
        record = self._make(key, path, 0 if known is None else known + 1, lifetime_s)
        put = await self._dht.put_value(
            wire_key,
            record,
            ttl_s=lifetime_s,
            keep=keep,
            timeout_s=timeout_s - (trio.current_time() - began),
        )
        return PublishedName(_to_result(key.peer_id, parse_ipns_record(record), put.holders), put)

    async def resolve(self, name: PeerId, *, quorum: int, timeout_s: float) -> NameRecord:
        """Return what `name` points at; see `Node.resolve_name`."""
        found = await self._dht.get_value(ipns_key(name), quorum=quorum, timeout_s=timeout_s)
        return _to_result(name, parse_ipns_record(found.value), found.sources)

    def renew(self, valid: ValidRecord, ttl_s: float) -> bytes | None:
        """Return a record of ours with a later end; None if its key is not here."""
        key = self._signer(peer_of(valid.key))
        if key is None:
            return None
        data = parse_ipns_record(valid.value)
        left_s = data.validity_unix_ns / 1e9 - self._clock.unix_now()
        return self._make(key, data.value, data.sequence, max(ttl_s, left_s))

    def _make(self, key: PrivateKey, path: bytes, sequence: int, lifetime_s: float) -> bytes:
        ends_unix_ns = int((self._clock.unix_now() + lifetime_s) * 1e9)
        ttl_ns = int(min(limits.IPNS_TTL_S, lifetime_s) * 1e9)
        return make_ipns_record(key, path, sequence=sequence, validity_unix_ns=ends_unix_ns, ttl_ns=ttl_ns)

    async def _highest_sequence(self, key: bytes, *, timeout_s: float) -> int | None:
        """Return the highest number of a record of `key`, here (though it has ended) or elsewhere."""
        own = await self._dht.storage.own_record(key)
        records = [] if own is None else [own.value]
        with suppress(ValueNotFound, OperationTimeout):  # nobody else tells of one
            records.append((await self._dht.get_value(key, timeout_s=timeout_s)).value)
        return max((parse_ipns_record(record).sequence for record in records), default=None)


def content_path(value: str) -> bytes:
    """Return a name's value as it is signed; a CID stands for `/ipfs/<CID>`. Raises `InvalidArgument`."""
    if not value.startswith("/"):
        parse_cid(value)
        value = f"/ipfs/{value}"
    namespace, _, rest = value[1:].partition("/")
    if not namespace or not rest or not value.isprintable():
        raise InvalidArgument(f"{value[:80]!r} is no content path; write it like /ipfs/bafy...")
    try:
        return value.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidArgument("a content path is UTF-8 text") from None


def _to_result(name: PeerId, data: IpnsData, sources: tuple[PeerId, ...]) -> NameRecord:
    try:
        value = data.value.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidRecord(f"what {name} points at is not text") from None
    return NameRecord(
        name=name,
        value=value,
        sequence=data.sequence,
        expires_unix_s=data.validity_unix_ns / 1e9,
        ttl_s=data.ttl_ns / 1e9,
        sources=sources,
    )
