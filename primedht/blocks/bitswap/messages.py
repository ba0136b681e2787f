"""Bitswap messages as values, and the only place that knows their bytes.

Source: IPFS specs, bitswap protocol ("Bitswap 1.2.0", "Wire Format"). A block travels with the prefix of
its CID, so that its receiver computes the CID from the bytes: a block cannot claim a name that is not its
own, and wrong bytes show as a block that nobody asked for.

`/primedht/bitswap/1.0.0` is 1.2.0 in which a block may be a zstd frame (docs/protocol.md, "Bitswap between
our nodes"). It is named to no peer that does not list it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from google.protobuf.message import DecodeError

from primedht import limits
from primedht.blocks.block import Block, hashed_block, make_block
from primedht.blocks.compression import expand
from primedht.cids import DAG_PB, Cid
from primedht.errors import DecompressionFailed, InvalidArgument, ProtocolViolation, Unsupported
from primedht.pb import bitswap_pb2 as pb
from primedht.wire import varint

BITSWAP_120 = "/ipfs/bitswap/1.2.0"
BITSWAP_110 = "/ipfs/bitswap/1.1.0"
BITSWAP_100 = "/ipfs/bitswap/1.0.0"
PROTOCOLS = (BITSWAP_120, BITSWAP_110, BITSWAP_100)
"""Newest first: what is proposed and served."""
BITSWAP_ZSTD = "/primedht/bitswap/1.0.0"


@dataclass(frozen=True, slots=True)
class Want:
    """One entry of a wantlist. have: only whether the block is there is asked. cancel: it is unwanted now."""

    cid: Cid
    priority: int = 1
    have: bool = False
    cancel: bool = False
    send_dont_have: bool = True


@dataclass(frozen=True, slots=True)
class BitswapMessage:
    """full: `wants` are all that the sender wants, not changes to that.

    wire_bytes: of a message that came, how many bytes the data of each of `blocks` travelled as.
    """

    wants: Sequence[Want] = ()
    full: bool = False
    blocks: Sequence[Block] = ()
    haves: Sequence[Cid] = ()
    dont_haves: Sequence[Cid] = ()
    wire_bytes: Sequence[int] = field(default=(), compare=False)

    def __bool__(self) -> bool:
        return bool(self.wants or self.full or self.blocks or self.haves or self.dont_haves)


Frames = Sequence[bytes | None]
"""What goes in place of the data of a message's blocks, by their order; None: the data itself."""


def encode(message: BitswapMessage, protocol: str = BITSWAP_120, frames: Frames = ()) -> bytes:
    """Return the message's bytes for a stream of `protocol`.

    Before 1.2.0 there are no presences, and every want is one for the block itself. frames: of zstd, for
    a stream of `BITSWAP_ZSTD` only.
    """
    return b"".join(_pieces(message, protocol, frames))


def encode_framed(message: BitswapMessage, protocol: str, frames: Frames = ()) -> bytes:
    """As `encode`, behind the length."""
    pieces = _pieces(message, protocol, frames)
    return b"".join([varint.encode(sum(map(len, pieces))), *pieces])


def _pieces(message: BitswapMessage, protocol: str, frames: Frames) -> list[bytes]:
    """Return what the message consists of; blocks are not copied, as protobuf's own encoder would twice."""
    is_120 = protocol in (BITSWAP_120, BITSWAP_ZSTD)
    assert not frames or protocol == BITSWAP_ZSTD, "no other peer would understand them"
    out = pb.Message()
    if message.wants or message.full:
        out.wantlist.full = message.full
        for want in message.wants:
            entry = out.wantlist.entries.add(cid=bytes(want.cid), priority=want.priority, cancel=want.cancel)
            if is_120:
                entry.want_type = pb.Message.Wantlist.HAVE if want.have else pb.Message.Wantlist.BLOCK
                entry.send_dont_have = want.send_dont_have
    if is_120:
        for cid in message.haves:
            out.presences.add(cid=bytes(cid), type=pb.Message.HAVE)
        for cid in message.dont_haves:
            out.presences.add(cid=bytes(cid), type=pb.Message.DONT_HAVE)
    pieces = [out.SerializeToString()]
    for block, frame in zip(message.blocks, frames or [None] * len(message.blocks), strict=True):
        data = block.data if frame is None else frame
        if protocol == BITSWAP_100:
            pieces += [_tag(pb.Message.RAW_BLOCKS_FIELD_NUMBER, len(data)), data]
            continue
        prefix = _prefix(block.cid)
        head = _tag(pb.Message.Block.PREFIX_FIELD_NUMBER, len(prefix)) + prefix
        if frame is not None:
            head += varint.encode(pb.Message.Block.CONTENT_BYTES_FIELD_NUMBER << 3)
            head += varint.encode(len(block.data))
        head += _tag(pb.Message.Block.DATA_FIELD_NUMBER, len(data))
        pieces.append(_tag(pb.Message.BLOCKS_FIELD_NUMBER, len(head) + len(data)) + head)
        pieces.append(data)
    return pieces


def _tag(number: int, size_bytes: int) -> bytes:
    """Return what precedes a length-delimited field (Protocol Buffers, "Encoding")."""
    return varint.encode(number << 3 | 2) + varint.encode(size_bytes)


def decode(raw: bytes, protocol: str = BITSWAP_120) -> BitswapMessage:
    """Parse a message from a stream of `protocol`; the blocks in it are hashed. Raises `ProtocolViolation`.

    The blocks have at most `BITSWAP_MESSAGE_BYTES_MAX` together, compressed or not.
    """
    parsed = _parsed(raw)
    entries, presences = parsed.wantlist.entries, parsed.presences
    if len(entries) + len(presences) > limits.BITSWAP_ENTRIES_MAX:
        raise ProtocolViolation(f"a bitswap message of over {limits.BITSWAP_ENTRIES_MAX} entries")
    try:
        blocks = [make_block(data, DAG_PB, version=0) for data in parsed.raw_blocks]
        contents = _contents(parsed.blocks, protocol)
        blocks += [_block(each.prefix, data) for each, data in zip(parsed.blocks, contents, strict=True)]
        return BitswapMessage(
            wants=[
                Want(
                    _cid(entry.cid),
                    entry.priority,
                    entry.want_type == pb.Message.Wantlist.HAVE,
                    entry.cancel,
                    entry.send_dont_have,
                )
                for entry in entries
            ],
            full=parsed.wantlist.full,
            blocks=blocks,
            haves=[_cid(each.cid) for each in presences if each.type == pb.Message.HAVE],
            dont_haves=[_cid(each.cid) for each in presences if each.type == pb.Message.DONT_HAVE],
            wire_bytes=[*map(len, parsed.raw_blocks), *(len(each.data) for each in parsed.blocks)],
        )
    except (InvalidArgument, Unsupported, DecompressionFailed) as error:
        raise ProtocolViolation(f"a bitswap message with {error}") from None


def is_long_to_decode(raw: bytes, protocol: str) -> bool:
    """Return whether what has to be hashed or decompressed would hold the event loop for milliseconds.

    Raises `ProtocolViolation`.
    """
    content_bytes = len(raw)
    if protocol == BITSWAP_ZSTD and content_bytes <= limits.BITSWAP_DECODE_AT_ONCE_BYTES:
        content_bytes += sum(block.content_bytes for block in _parsed(raw).blocks)
    return content_bytes > limits.BITSWAP_DECODE_AT_ONCE_BYTES


def _parsed(raw: bytes) -> pb.Message:
    try:
        return pb.Message.FromString(raw)
    except DecodeError:
        raise ProtocolViolation("not a bitswap message") from None


def _contents(blocks: Iterable[pb.Message.Block], protocol: str) -> Iterator[bytes]:
    """Yield the blocks' own bytes; each is used before the next is decompressed."""
    left_bytes = limits.BITSWAP_MESSAGE_BYTES_MAX
    for block in blocks:
        if not block.content_bytes or protocol != BITSWAP_ZSTD:
            left_bytes -= len(block.data)
            yield block.data
            continue
        left_bytes -= block.content_bytes
        if left_bytes < 0 or block.content_bytes > limits.BLOCK_BYTES_MAX:
            raise ProtocolViolation("a bitswap message whose blocks are too large for one")
        yield expand(block.data, block.content_bytes)


def _cid(raw: bytes) -> Cid:
    if len(raw) > limits.BITSWAP_CID_BYTES_MAX:
        raise ProtocolViolation(f"a CID of {len(raw)} bytes in a bitswap message")
    return Cid.from_bytes(raw)


def _prefix(cid: Cid) -> bytes:
    """Return version, codec, hash function and digest length, each as a varint."""
    return b"".join(map(varint.encode, (cid.version, cid.codec, cid.hash_code, len(cid.digest))))


def _block(prefix: bytes, data: bytes) -> Block:
    version, codec, hash_code, digest_bytes = _prefix_fields(prefix)
    if version == 0:
        return make_block(data, DAG_PB, version=0)
    return hashed_block(data, version=version, codec=codec, hash_code=hash_code, digest_bytes=digest_bytes)


def _prefix_fields(prefix: bytes) -> tuple[int, ...]:
    fields, offset = [], 0
    for _ in range(4):
        read = varint.decode(prefix, offset)
        if read is None:
            raise ProtocolViolation(f"a block's prefix is {prefix[:16].hex()}")
        value, offset = read
        fields.append(value)
    if fields[0] > 1:
        raise ProtocolViolation(f"a block of CID version {fields[0]}")
    return tuple(fields)
