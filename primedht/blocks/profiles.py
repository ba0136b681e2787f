"""Import profiles: how a file is cut and its blocks are linked, and so which CID it gets.

Source: IPIP-499 (`unixfs-v0-2015`, `unixfs-v1-2025`); kubo, `ipfs add` and `ipfs add --cid-version=1`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from primedht.errors import InvalidArgument

DEFAULT_NAME = "unixfs-v1-2025"


@dataclass(frozen=True, slots=True)
class Profile:
    """chunk_bytes: of a leaf. links_max: of a file's inner node.

    raw_leaves: leaves are plain bytes rather than dag-pb nodes. by_tensor: safetensors files are cut at
    the end of their header and of each tensor too. shard_by: what a directory's size is measured by when
    it is compared with `limits.DIRECTORY_NODE_BYTES_MAX`: its names and CIDs, or its block.
    """

    name: str
    cid_version: int
    chunk_bytes: int
    links_max: int
    raw_leaves: bool
    shard_by: Literal["links", "block"]
    by_tensor: bool = False


PROFILES = {
    profile.name: profile
    for profile in (
        Profile("ipfs-v0", 0, 256 << 10, 174, raw_leaves=False, shard_by="links"),
        Profile("ipfs-v1", 1, 256 << 10, 174, raw_leaves=True, shard_by="links"),
        Profile("unixfs-v1-2025", 1, 1 << 20, 1024, raw_leaves=True, shard_by="block"),
        Profile("safetensors", 1, 1 << 20, 1024, raw_leaves=True, shard_by="block", by_tensor=True),
    )
}


def profile_named(name: str) -> Profile:
    """Return the profile called `name`. Raises `InvalidArgument`."""
    if name not in PROFILES:
        raise InvalidArgument(f"no profile is called {name[:40]!r}; choose one of {', '.join(PROFILES)}")
    return PROFILES[name]
