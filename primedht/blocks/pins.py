"""Pins: what is not to be collected, under which name and until when.

A CID may have several pins, told apart by their names. A direct pin keeps one block, a recursive one
also all that it links to. A partial pin keeps what there is of a DAG that is being fetched.
"""

from __future__ import annotations

import shlex
from collections.abc import AsyncIterator
from dataclasses import dataclass

from primedht import limits
from primedht.blocks.index import PIN
from primedht.blocks.store import LocalBlockstore
from primedht.cids import Cid
from primedht.clock import WallClock
from primedht.dht.sealed import seal, unseal
from primedht.errors import BlockNotFound, InvalidArgument, StoreCorrupt
from primedht.pb import store_pb2
from primedht.stores.kv import KeyValue, scan_all


@dataclass(frozen=True, slots=True)
class Pin:
    """expires_unix_s: None is never. partial: some of the DAG may not be here yet."""

    cid: Cid
    name: str = ""
    recursive: bool = True
    partial: bool = False
    created_unix_s: float = 0.0
    expires_unix_s: float | None = None


class Pins:
    """The pins of a node, on disk when a method returns."""

    def __init__(self, kv: KeyValue, store: LocalBlockstore, clock: WallClock) -> None:
        self._kv = kv
        self._store = store
        self._clock = clock

    def unix_now(self) -> float:
        """Return the time by which pins expire."""
        return self._clock.unix_now()

    async def add(
        self,
        cid: Cid,
        *,
        name: str = "",
        recursive: bool = True,
        partial: bool = False,
        expires_unix_s: float | None = None,
    ) -> Pin:
        """Pin `cid`, or change its pin of that name.

        Unless `partial`, all that is pinned must be here: raises `BlockNotFound`, or `InvalidDag` and
        `Unsupported` for what cannot be followed. Raises `InvalidArgument` for a bad name.
        """
        pin = Pin(cid, name, recursive, partial, self._clock.unix_now(), expires_unix_s)
        key = _key(cid, name)
        if expires_unix_s is not None and not expires_unix_s > pin.created_unix_s:  # NaN too
            raise InvalidArgument("a pin that has expired already")
        with self._store.hold() as hold:
            hold.add([cid])
            if recursive and not partial:
                async for found in walk(self._store, cid):
                    hold.add([found])
            elif not partial and not await self._store.has(cid):
                raise BlockNotFound(f"block {cid} is not here")
            message = store_pb2.Pin(
                cid=bytes(cid),
                name=name,
                recursive=recursive,
                partial=partial,
                created_unix_s=pin.created_unix_s,
                expires_unix_s=expires_unix_s,
            )
            await self._kv.put({key: seal(message)})
        return pin

    async def remove(self, cid: Cid, *, name: str | None = None) -> int:
        """Remove the pin of that name, or all pins of `cid`, damaged ones too; return how many there were."""
        keys = [
            key
            async for key, pinned, its_name, _ in self._stored()
            if pinned.multihash == cid.multihash and name in (None, its_name)
        ]
        if keys:
            await self._kv.put(dict.fromkeys(keys))
        return len(keys)

    async def all(self) -> AsyncIterator[Pin]:
        """Yield every pin, those that have expired included.

        Raises `StoreCorrupt` for a damaged one, which stops the collector: that must not guess.
        """
        async for _, cid, name, raw in self._stored():
            yield _parse(cid, name, raw)

    async def names(self) -> set[str]:
        """Return the names of all pins, of damaged ones too."""
        return {name async for _, _, name, _ in self._stored()}

    async def of(self, cid: Cid) -> list[Pin]:
        """Return the pins of `cid` that have not expired. Raises `StoreCorrupt`."""
        now = self._clock.unix_now()
        pins = [
            _parse(pinned, name, raw)
            async for _, pinned, name, raw in self._stored()
            if pinned.multihash == cid.multihash
        ]
        return [pin for pin in pins if not is_expired(pin, now)]

    async def remove_expired(self) -> list[Pin]:
        """Remove the pins that have expired, and return them."""
        now = self._clock.unix_now()
        expired = [pin async for pin in self.all() if is_expired(pin, now)]
        for start in range(0, len(expired), limits.STORE_CHANGES_MAX):
            page = expired[start : start + limits.STORE_CHANGES_MAX]
            await self._kv.put({_key(pin.cid, pin.name): None for pin in page})
        return expired

    async def _stored(self) -> AsyncIterator[tuple[bytes, Cid, str, bytes]]:
        """Yield each pin's key, what that says (CID and name), and what is stored under it."""
        async for key, raw in scan_all(self._kv, PIN):
            at = len(PIN) + 1
            end = at + key[len(PIN)]
            yield key, Cid.from_bytes(key[at:end]), key[end:].decode("utf-8", "surrogateescape"), raw


def is_expired(pin: Pin, now_unix_s: float) -> bool:
    """Return whether the pin keeps nothing any more."""
    return pin.expires_unix_s is not None and pin.expires_unix_s <= now_unix_s


async def walk(store: LocalBlockstore, root: Cid) -> AsyncIterator[Cid]:
    """Yield `root` and all that it links to, each once, parents first.

    Raises `BlockNotFound` where one is not here, and as `LocalBlockstore.links`.
    """
    seen = {(root.codec, root.multihash)}
    waiting = [root]
    while waiting:
        cid = waiting.pop()
        links = await store.links(cid)
        yield cid
        for link in reversed(links):
            if (link.codec, link.multihash) not in seen:
                seen.add((link.codec, link.multihash))
                waiting.append(link)


def _parse(cid: Cid, name: str, raw: bytes) -> Pin:
    message = store_pb2.Pin()
    try:
        unseal(raw, message)
    except StoreCorrupt as error:
        named = f" --name {shlex.quote(name)}" if name else ""
        raise StoreCorrupt(
            f"a pin of {cid} is damaged ({error}): pin it anew with `primedht pin {cid}{named}`, or give it "
            f"up with `primedht unpin {cid}{named}`"
        ) from None
    return Pin(
        Cid.from_bytes(message.cid),
        message.name,
        message.recursive,
        message.partial,
        message.created_unix_s,
        message.expires_unix_s if message.HasField("expires_unix_s") else None,
    )


def _key(cid: Cid, name: str) -> bytes:
    encoded = name.encode("utf-8", "surrogateescape")
    if len(encoded) > limits.PIN_NAME_BYTES_MAX or not name.isprintable():
        raise InvalidArgument(
            f"a pin's name has at most {limits.PIN_NAME_BYTES_MAX} printable bytes: {name[:60]!r}"
        )
    raw = bytes(cid)
    return PIN + bytes((len(raw),)) + raw + encoded
