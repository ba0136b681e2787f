"""Private networks: everything on the wire is XORed with an XSalsa20 keystream under a shared key.

Each side sends a random nonce of 24 bytes and its keystream follows; there is no other handshake.
The layer keeps strangers out and proves nothing about integrity: Noise runs inside it.

`xsalsa20` and `session` do no I/O; `stream` moves their bytes.

Source: libp2p specs, pnet/Private-Networks-PSK-V1.md; go-libp2p, p2p/net/pnet/psk_conn.go.
"""

from __future__ import annotations

from primedht.host.pnet.stream import Protector

__all__ = ["Protector"]
