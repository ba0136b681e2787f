"""Files and directories that anybody can make again from a word, so that only their CIDs need be kept."""

from __future__ import annotations

import hashlib
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms

KIB, MIB = 1 << 10, 1 << 20
CHUNK_BYTES = {"ipfs-v0": 256 * KIB, "ipfs-v1": 256 * KIB, "unixfs-v1-2025": MIB}
_ALPHABET = "abcdefghijklmnopqrstuvwxyz01234567890-_"


class Stream:
    """An open file of `size` bytes: the ChaCha20 key stream of a seed, as kubo's tests have it."""

    def __init__(self, seed: str, size: int) -> None:
        key = hashlib.sha256(seed.encode()).digest()
        self._cipher: CipherContext = Cipher(algorithms.ChaCha20(key, bytes(16)), None).encryptor()
        self._left = size

    def read(self, size: int = -1) -> bytes:
        taken = self._left if size < 0 else min(size, self._left)
        self._left -= taken
        return self._cipher.update(bytes(taken))


def content(seed: str, size: int) -> bytes:
    """Return the whole of a `Stream`."""
    return Stream(seed, size).read()


def edge_sizes(profile: str) -> dict[str, int]:
    """Return the sizes around which layouts go wrong, by name."""
    chunk = CHUNK_BYTES[profile]
    return {
        "0": 0,
        "1": 1,
        "chunk-1": chunk - 1,
        "chunk": chunk,
        "chunk+1": chunk + 1,
        "174 chunks": 174 * chunk,
        "174 chunks+1": 174 * chunk + 1,
        "175 chunks": 175 * chunk,
        "349 chunks": 349 * chunk,
    }


def make_tree(root: Path) -> None:
    """Make a directory with what directories can have: depth, empty ones, links, names of all kinds."""
    for path, size in (
        ("a.bin", 1000),
        ("b/c.bin", 300 * KIB),
        ("b/empty.bin", 0),
        ("b/deep/er/file", 5),
        ("zoë/名前.txt", 77),
        ("Z", 1),
        ("with space", 3),
        ("dotted.name", 4),
    ):
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content(path, size))
    (root / "nothing" / "at all").mkdir(parents=True)
    (root / "b" / "link").symlink_to("../a.bin")


def make_wide(root: Path, files: int) -> None:
    """Make a directory with so many small files that it may need a HAMT."""
    root.mkdir(parents=True)
    for index in range(files):
        (root / f"file-{index:06d}.bin").write_bytes(f"{index}".encode())


def make_kubo_directory(root: Path, seed: str, files: int, name_chars: int, last_name_chars: int) -> None:
    """Make a directory of kubo's own tests (test/cli/add_test.go): its size is at a HAMT's threshold."""
    root.mkdir(parents=True)
    names = Stream(seed, MIB)
    for index in range(files):
        letters = names.read(last_name_chars if index == files - 1 else name_chars)
        (root / "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in letters)).write_bytes(b"x")
