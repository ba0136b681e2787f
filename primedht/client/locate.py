"""Where the daemon is: what the caller says, then the environment, then the data directory."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from primedht import control_addr, paths
from primedht.control_addr import ControlAddr, UnixAddr
from primedht.errors import DaemonUnavailable

CONTROL_ENV = "PRIMEDHT_CONTROL"
DATA_DIR_ENV = "PRIMEDHT_NODE_DATA_DIR"
_START = "start one with `primedht run`"


def locate(
    control: str | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
) -> ControlAddr:
    """Return the address of the daemon's control socket.

    In this order: `control`, `data_dir`, `$PRIMEDHT_CONTROL`, `$PRIMEDHT_NODE_DATA_DIR`, the default
    data directory. Raises `InvalidArgument`, or `DaemonUnavailable` if no daemon was there ever.
    """
    if control is not None:
        return control_addr.parse(control)
    if data_dir is None and environ.get(CONTROL_ENV):
        return control_addr.parse(environ[CONTROL_ENV])
    directory = Path(data_dir or environ.get(DATA_DIR_ENV) or paths.default_data_dir(environ))
    return _of_data_dir(directory.expanduser().absolute())


def _of_data_dir(directory: Path) -> ControlAddr:
    try:
        recorded = (directory / paths.CONTROL_FILE).read_text("utf-8").split("\n", 1)[0]
    except FileNotFoundError:
        pass
    except (OSError, UnicodeDecodeError) as error:
        raise DaemonUnavailable(f"{directory / paths.CONTROL_FILE}: {error}; check --data-dir") from None
    else:
        return control_addr.parse(recorded)
    socket = directory / paths.CONTROL_SOCKET
    if not socket.exists():
        raise DaemonUnavailable(f"no daemon runs on {directory}; {_START}, or give --data-dir or --control")
    return UnixAddr(str(socket))
