"""One connection of a private network, without I/O.

Nothing says that the peer has our key but that what it sends makes sense. multistream-select comes
first on every connection and always begins with the same bytes, so those are looked for here.
"""

from __future__ import annotations

from Crypto.Cipher import Salsa20

from primedht.errors import PskMismatch
from primedht.host.multistream import GREETING
from primedht.host.pnet.xsalsa20 import NONCE_BYTES, xsalsa20
from primedht.psk import Psk


class PskSession:
    """The two keystreams of a connection.

    nonce: ours, random, sent before anything else.
    """

    def __init__(self, psk: Psk, nonce: bytes) -> None:
        self.nonce = nonce
        self._psk = psk
        self._sealing = xsalsa20(psk.data, nonce)
        self._opening: Salsa20.Salsa20Cipher | None = None
        self._peer_nonce = b""
        self._unproven = GREETING

    @property
    def wanted_bytes(self) -> int:
        """How many bytes of the peer's nonce `feed` wants next; 0 when it is complete."""
        received = len(self._peer_nonce)
        return (len(GREETING) if received < len(GREETING) else NONCE_BYTES) - received

    @property
    def has_begun(self) -> bool:
        """Whether anything of the peer's nonce has come."""
        return bool(self._peer_nonce)

    @property
    def is_proven(self) -> bool:
        """Whether the peer has shown that it has our key."""
        return not self._unproven

    def feed(self, data: bytes) -> None:
        """Take bytes of the peer's nonce, at most `wanted_bytes`. Raises `PskMismatch`."""
        self._peer_nonce += data
        if self._peer_nonce == GREETING:
            raise PskMismatch("the peer uses no pre-shared key; it is not in this private network")
        if len(self._peer_nonce) == NONCE_BYTES:
            if self._peer_nonce == self.nonce:
                raise PskMismatch("the peer returns what it is sent; it is not in this private network")
            self._opening = xsalsa20(self._psk.data, self._peer_nonce)

    def seal(self, data: bytes | memoryview, out: memoryview) -> None:
        """Encrypt `data` into `out`, which is as long."""
        self._sealing.encrypt(data, output=out)

    def open(self, buffer: memoryview) -> None:
        """Decrypt in place what follows the peer's nonce. Raises `PskMismatch` for another key's."""
        assert self._opening is not None
        self._opening.encrypt(buffer, output=buffer)
        if self._unproven:
            begin = bytes(buffer[: len(self._unproven)])
            if not self._unproven.startswith(begin):
                raise PskMismatch("the peer uses another pre-shared key; it is not in this private network")
            self._unproven = self._unproven[len(begin) :]
