"""Where things are on this machine: data and runtime directories, and the daemon's socket.

The daemon and the clients must agree on these without importing each other.
Source: freedesktop.org, XDG Base Directory Specification 0.8.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

CONTROL_FILE = "control"  # in a data directory: the multiaddr of the daemon's control socket
CONTROL_SOCKET = "control.sock"


def default_data_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the data directory of a node that was not given one: `$XDG_DATA_HOME/primedht`."""
    base = environ.get("XDG_DATA_HOME", "")
    # The specification says that a relative path is invalid and must be ignored.
    home = Path(base) if os.path.isabs(base) else Path.home() / ".local" / "share"
    return home / "primedht"


def runtime_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Return a short directory for sockets: in `$XDG_RUNTIME_DIR`, else one of ours under /tmp."""
    base = environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(base) and os.path.isdir(base):
        return Path(base) / "primedht"
    return Path("/tmp") / f"primedht-{os.getuid()}"
