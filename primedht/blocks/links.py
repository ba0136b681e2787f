"""Which blocks a block links to.

DAG-CBOR is only skimmed: lengths are followed and CIDs (tag 42) are picked up, nothing is built.

Source: IPLD specs, DAG-PB and DAG-CBOR ("Links").
"""

from __future__ import annotations

from collections.abc import Iterator

from primedht.blocks.dagpb import decode_node
from primedht.cids import DAG_CBOR, DAG_PB, LIBP2P_KEY, RAW, Cid
from primedht.errors import InvalidArgument, InvalidDag, Unsupported

_NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = range(1, 8)
_TAG_CID = 42
_SIZES = {24: 1, 25: 2, 26: 4, 27: 8}


def links_of(cid: Cid, data: bytes) -> tuple[Cid, ...]:
    """Return the CIDs that the block links to, in order.

    Raises `InvalidDag` for bytes that are not of the CID's codec, and `Unsupported` for a codec that we
    cannot read.
    """
    if cid.codec in (RAW, LIBP2P_KEY):
        return ()
    if cid.codec == DAG_PB:
        return tuple(link.cid for link in decode_node(data).links)
    if cid.codec == DAG_CBOR:
        return tuple(_cbor_links(data))
    raise Unsupported(f"{cid} is of codec {cid.codec:#x}; raw, dag-pb and dag-cbor go")


def _cbor_links(data: bytes) -> Iterator[Cid]:
    """Yield the links of one DAG-CBOR item. No recursion: how deep it nests does not matter."""
    at, left, is_link = 0, 1, False
    while left:
        left -= 1
        major, argument, at = _head(data, at)
        if is_link and major != _BYTES:
            raise InvalidDag("not DAG-CBOR: a link that is no byte string")
        if major in (_BYTES, _TEXT):
            content, at = data[at : at + argument], at + argument
            if at > len(data):
                raise InvalidDag("not DAG-CBOR: cut short")
            if is_link:
                yield _link(content)
        elif major in (_ARRAY, _MAP):
            left += argument * (2 if major == _MAP else 1)
            if left > len(data) - at:
                raise InvalidDag("not DAG-CBOR: cut short")
        elif major == _TAG:
            if argument != _TAG_CID:
                raise InvalidDag(f"not DAG-CBOR: tag {argument}")
            left += 1
        is_link = major == _TAG
    if at != len(data):
        raise InvalidDag("not DAG-CBOR: more than one item")


def _head(data: bytes, at: int) -> tuple[int, int, int]:
    """Return an item's major type and argument, and where it goes on."""
    if at >= len(data):
        raise InvalidDag("not DAG-CBOR: cut short")
    major, info = data[at] >> 5, data[at] & 31
    if info < 24:
        return major, info, at + 1
    size = _SIZES.get(info)
    if size is None or at + 1 + size > len(data):
        raise InvalidDag("not DAG-CBOR: cut short, or of indefinite length")
    return major, int.from_bytes(data[at + 1 : at + 1 + size], "big"), at + 1 + size


def _link(content: bytes) -> Cid:
    if not content.startswith(b"\x00"):  # the multibase prefix of binary
        raise InvalidDag("not DAG-CBOR: a link without its prefix")
    try:
        return Cid.from_bytes(content[1:])
    except InvalidArgument as error:
        raise InvalidDag(f"not DAG-CBOR: {error}") from None
