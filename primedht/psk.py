"""The pre-shared key of a private network, and the file that it comes in.

The file has three lines: `/key/swarm/psk/1.0.0/`, the encoding, and the 32 bytes of the key in it.

Source: libp2p specs, pnet/Private-Networks-PSK-V1.md; go-libp2p, core/pnet/codec.go.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import structlog
from Crypto.Cipher import Salsa20

from primedht import limits
from primedht.errors import MalformedKey, PskUnreadable

log = structlog.get_logger(__name__)

KEY_BYTES = 32
_HEADER = b"/key/swarm/psk/1.0.0/"
_FINGERPRINT_NONCE = b"finprint"
_WRITABLE_OR_READABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class Psk:
    """A pre-shared key. Never shown: its text form is the fingerprint.

    data: the 32 secret bytes. Making one raises `MalformedKey`.
    """

    data: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.data) != KEY_BYTES:
            raise MalformedKey(f"a pre-shared key has {KEY_BYTES} bytes, not {len(self.data)}")

    @classmethod
    def generate(cls) -> Self:
        return cls(secrets.token_bytes(KEY_BYTES))

    @classmethod
    def parse(cls, content: bytes) -> Self:
        """Read a key file's content, in any of its three encodings. Raises `MalformedKey`."""
        header, _, rest = content.partition(b"\n")
        if header.rstrip(b"\r") != _HEADER:
            raise MalformedKey(f"a pre-shared key's file begins with the line {_HEADER.decode()}")
        encoding, _, body = rest.partition(b"\n")
        return cls(_decoded(encoding.rstrip(b"\r"), body))

    def serialize(self) -> bytes:
        """Return the content of a key file, in base16, which all implementations read: secret."""
        return b"%s\n/base16/\n%s\n" % (_HEADER, self.data.hex().encode())

    @property
    def fingerprint(self) -> str:
        """32 hexadecimal digits that tell keys apart and give nothing of them away.

        Source: kubo, core/node/libp2p/pnet.go: SHAKE-128 of 64 bytes that the key encrypted.
        """
        encrypted = Salsa20.new(key=self.data, nonce=_FINGERPRINT_NONCE).encrypt(bytes(64))
        return hashlib.shake_128(encrypted).hexdigest(16)

    def __str__(self) -> str:
        return self.fingerprint


def _decoded(encoding: bytes, body: bytes) -> bytes:
    try:
        if encoding == b"/base16/":
            return binascii.unhexlify(body.strip())
        if encoding == b"/base64/":
            return base64.b64decode(body.strip(), validate=True)
    except binascii.Error:
        raise MalformedKey(f"what follows {encoding.decode()} is not in that encoding") from None
    if encoding == b"/bin/":
        # An editor may have ended the last line.
        return body[:KEY_BYTES] if body[KEY_BYTES:] in (b"\n", b"\r\n") else body
    raise MalformedKey("the second line of a pre-shared key's file is /base16/, /base64/ or /bin/")


def read_psk_file(path: Path) -> Psk:
    """Read a pre-shared key; a file that other users may read or change gets a warning in the log.

    Raises:
        PskUnreadable: it is missing or cannot be read.
        MalformedKey: it holds something else.
    """
    path = path.expanduser()
    try:
        with path.open("rb") as stream:
            mode = stat.S_IMODE(path.stat().st_mode)
            content = stream.read(limits.PSK_FILE_BYTES_MAX + 1)
    except OSError as error:
        raise PskUnreadable(f"{path}: {error.strerror}; check network.psk_file") from None
    if len(content) > limits.PSK_FILE_BYTES_MAX:
        raise MalformedKey(f"{path}: too large for a pre-shared key; check network.psk_file")
    try:
        psk = Psk.parse(content)
    except MalformedKey as error:
        raise MalformedKey(f"{path}: {error}; `primedht key psk` makes such a file") from None
    if mode & _WRITABLE_OR_READABLE_BY_OTHERS:
        log.warning("psk_file_exposed", path=str(path), mode=f"{mode:04o}", hint="chmod 600 it")
    return psk
