"""dag-pb: nodes with named links and some data, which files and directories are made of.

The one encoding of a node has its links before its data, and each link's three fields in order, an
empty name included. Source: IPLD specs, dag-pb.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from primedht.cids import Cid
from primedht.errors import InvalidArgument, InvalidDag
from primedht.pb import merkledag_pb2 as pb


@dataclass(frozen=True, slots=True)
class Link:
    """tsize: bytes of the target's block and of all blocks below it, repeats counted."""

    cid: Cid
    tsize: int
    name: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """links: in the order of the wire. data: of UnixFS, as a rule."""

    links: tuple[Link, ...]
    data: bytes


def encode_node(links: Sequence[Link], data: bytes) -> bytes:
    """Return a node's block bytes."""
    linked = pb.PBNode(
        Links=[pb.PBLink(Hash=bytes(link.cid), Name=link.name.encode(), Tsize=link.tsize) for link in links]
    )
    return linked.SerializeToString() + pb.PBNode(Data=data).SerializeToString()


def decode_node(raw: bytes) -> Node:
    """Parse a node. Raises `InvalidDag`."""
    try:
        node = pb.PBNode.FromString(raw)
        links = tuple(Link(Cid.from_bytes(each.Hash), each.Tsize, each.Name.decode()) for each in node.Links)
    except (DecodeError, InvalidArgument, UnicodeDecodeError) as error:
        raise InvalidDag(f"not a dag-pb node: {error}") from None
    return Node(links, node.Data)
