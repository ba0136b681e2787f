"""UnixFS: what the data of a dag-pb node says about the file or directory that the node stands for.

Source: UnixFS specification, "Data" field.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from google.protobuf.message import DecodeError

from primedht.errors import InvalidDag
from primedht.pb import unixfs_pb2 as pb
from primedht.wire import varint

MURMUR3_X64_64 = 0x22  # multiformats/multicodec, table.csv: the hash of HAMT directories


class Kind(IntEnum):
    """What a node is. RAW is an old form of a file's leaf."""

    RAW = 0
    DIRECTORY = 1
    FILE = 2
    METADATA = 3
    SYMLINK = 4
    HAMT_SHARD = 5


@dataclass(frozen=True, slots=True)
class UnixFs:
    """One node's data.

    content: bytes of a leaf, target of a symlink, or bit field of a shard. size_bytes: of the file
    that the node and all below it make up. part_bytes: the same of each link's part.
    """

    kind: Kind
    content: bytes = b""
    size_bytes: int = 0
    part_bytes: tuple[int, ...] = ()
    hash_code: int = 0
    fanout: int = 0


def file_data(part_bytes: Sequence[int]) -> bytes:
    """Return the data of a file's inner node, given the file bytes below each of its links."""
    data = pb.Data(Type=pb.Data.File, filesize=sum(part_bytes), blocksizes=part_bytes)
    return data.SerializeToString()


def leaf_node(content: bytes) -> bytes:
    """Return the dag-pb block of a leaf that carries `content`; the whole block, copied once."""
    size = varint.encode(len(content))
    head = b"\x08\x02" + (b"\x12" + size if content else b"")
    tail = b"\x18" + size
    length = varint.encode(len(head) + len(content) + len(tail))
    return b"".join((b"\x0a", length, head, content, tail))


def directory_data() -> bytes:
    """Return the data of a directory whose links are its entries."""
    return pb.Data(Type=pb.Data.Directory).SerializeToString()


def symlink_data(target: str) -> bytes:
    """Return the data of a symbolic link."""
    return pb.Data(Type=pb.Data.Symlink, Data=target.encode("utf-8")).SerializeToString()


def shard_data(bit_field: bytes, fanout: int) -> bytes:
    """Return the data of one node of a HAMT directory."""
    data = pb.Data(Type=pb.Data.HAMTShard, Data=bit_field, hashType=MURMUR3_X64_64, fanout=fanout)
    return data.SerializeToString()


def decode(raw: bytes) -> UnixFs:
    """Parse a node's data. Raises `InvalidDag`."""
    try:
        data = pb.Data.FromString(raw)
        kind = Kind(data.Type)
    except (DecodeError, ValueError):
        raise InvalidDag("a dag-pb node whose data is not UnixFS") from None
    if not data.IsInitialized():
        raise InvalidDag("a dag-pb node whose data is not UnixFS")
    return UnixFs(
        kind,
        data.Data,
        data.filesize if data.HasField("filesize") else len(data.Data),
        tuple(data.blocksizes),
        data.hashType,
        data.fanout,
    )
