"""The balanced layout: a file's leaves under as many levels of nodes as it takes, all leaves equally deep.

Nodes are made as soon as they are full, so a file of any size needs memory for one node a level. The
last node of each level may have few links, even one: that is how IPFS nodes build it.

Source: UnixFS specification, "Layout"; kubo, `ipfs add`.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from primedht.blocks import unixfs
from primedht.blocks.block import Block, make_block
from primedht.blocks.dagpb import Link, encode_node
from primedht.blocks.profiles import Profile
from primedht.cids import DAG_PB, Cid


@dataclass(frozen=True, slots=True)
class Part:
    """A file, a directory or a piece of one.

    content_bytes: of the files below. dag_bytes: of all blocks, as often as they are linked (Tsize).
    """

    cid: Cid
    content_bytes: int
    dag_bytes: int


@dataclass(frozen=True, slots=True)
class Placed:
    """A block of an import. offset: where in the file a leaf's bytes begin; None for an inner node."""

    block: Block
    offset: int | None = None


Blocks = Generator[Placed, None, Part]
"""Yields blocks, those below a node before it; returns the part that they make up."""


class BalancedTree:
    """Takes one file's leaves in order, then `finish`es."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._levels: list[list[Part]] = [[]]

    def add(self, leaf: Part) -> Generator[Placed, None, None]:
        """Put `leaf` behind the others; yields the nodes that are complete with that."""
        yield from self._push(0, leaf)

    def finish(self) -> Blocks:
        """Close the tree. There must be a leaf."""
        level = 0
        while level + 1 < len(self._levels) or len(self._levels[level]) > 1:
            yield from self._close(level)
            level += 1
        return self._levels[level][0]

    def _push(self, level: int, part: Part) -> Generator[Placed, None, None]:
        if len(self._levels[level]) == self._profile.links_max:
            yield from self._close(level)
        self._levels[level].append(part)

    def _close(self, level: int) -> Generator[Placed, None, None]:
        parts = self._levels[level]
        if level + 1 == len(self._levels):
            self._levels.append([])
        links = [Link(part.cid, part.dag_bytes) for part in parts]
        data = unixfs.file_data([part.content_bytes for part in parts])
        block = make_block(encode_node(links, data), DAG_PB, version=self._profile.cid_version)
        yield Placed(block)
        node = Part(
            block.cid,
            sum(part.content_bytes for part in parts),
            len(block.data) + sum(part.dag_bytes for part in parts),
        )
        self._levels[level] = []
        yield from self._push(level + 1, node)
