"""Client or server mode: whether this node serves the kad protocol, and why.

Source: docs/design.md, "Which network"; libp2p kad-dht spec, "Client and server mode".
"""

from __future__ import annotations

from typing import NoReturn

import structlog
import trio

from primedht.dht.config import DhtConfig
from primedht.dht.peers import Peers
from primedht.dht.ports import Ports, RequestHandler
from primedht.wire import addrs

log = structlog.get_logger(__name__)


class Mode:
    """Decides the mode and has the host serve the protocol, or not."""

    def __init__(self, ports: Ports, peers: Peers, config: DhtConfig, handler: RequestHandler) -> None:
        self._connections = ports.connections
        self._book = ports.address_book
        self._config = config
        self.handler = handler
        self._changed = trio.Event()
        self.serving: bool | None = None
        self.reason = ""
        peers.watch(addrs_changed=lambda: self._changed.set())

    async def apply(self) -> bool:
        """Bring the host in line with what the mode should be now; return whether it serves."""
        serving, self.reason = self._decide()
        if serving != self.serving:
            self.serving = serving
            await self._connections.serve_kad(self.handler if serving else None)
            log.info("mode", mode="server" if serving else "client", reason=self.reason)
        return serving

    async def serve(self) -> NoReturn:
        """Decide anew whenever our addresses change. Only cancellation ends it."""
        while True:
            await self._changed.wait()
            self._changed = trio.Event()
            await self.apply()

    def _decide(self) -> tuple[bool, str]:
        if self._config.mode != "auto":
            return self._config.mode == "server", f"mode = {self._config.mode}"
        if self._config.network_kind == "private":
            return True, "auto: private networks are served"
        if any(map(addrs.is_public, self._book.own_addrs())):
            return True, "auto: an address of ours is public"
        return False, "auto: no address of ours is public; set node.announce if one is forwarded here"
