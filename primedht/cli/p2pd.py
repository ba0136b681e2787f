"""`p2pd`: a drop-in for go-libp2p-daemon, which other projects start as a child process.

Source: go-libp2p-daemon, p2pd/main.go (flags, output); Go's flag package (their syntax).
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from primedht.cli.help import App
from primedht.errors import InvalidArgument
from primedht.units import parse_duration

app = App()

_TEXT = ("listen", "id", "bootstrapPeers", "hostAddrs", "announceAddrs")
_NUMBERS = ("connLo", "connHi")
_DURATIONS = ("connGrace",)
_SWITCHES = ("q", "b", "dht", "dhtClient", "dhtServer", "connManager", "noListenAddrs")
# A JSON configuration from a file or standard input: we would have to obey it, and cannot read it.
_REFUSED = ("f", "i")
# Switches that we need not obey, with the only position that we offer.
_IDLE_SWITCHES = {
    "noise": True, "yamux": True, "pubsubSign": True, "pubsubSignStrict": True,
    "autoRelay": False, "autonat": False, "forceReachabilityPrivate": False,
    "forceReachabilityPublic": False, "mplex": False, "natPortMap": False, "pprof": False,
    "pubsub": False, "quic": False, "relay": False, "relayActive": False, "relayDiscovery": False,
    "relayHop": False, "relayService": False, "tls": False,
}  # fmt: skip
_BOOL = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}  # Go, strconv.ParseBool
_FLAG = re.compile(r"--?([A-Za-z][A-Za-z0-9]*)(?:=(.*))?", re.DOTALL)
_LISTEN = "/unix/tmp/p2pd.sock"
_HOST_ADDRS = ("/ip4/0.0.0.0/tcp/0", "/ip6/::/tcp/0")
_CONN_LO, _CONN_HI, _CONN_GRACE_S = 256, 512, 120.0
_SPARE_CONNECTIONS = 100  # between trimming and refusing


@app.command(
    context_settings={"ignore_unknown_options": True, "help_option_names": ["--help"]},
    epilog="Example: primedht p2pd -listen=/unix/run/p2pd.sock -hostAddrs=/ip4/127.0.0.1/tcp/0 -dhtServer",
)
def p2pd(
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="-FLAG[=VALUE]", help="As go-libp2p-daemon's p2pd.")
    ] = None,
) -> None:
    """Run a node in the place of go-libp2p-daemon's p2pd.

    Keeps nothing on disk. Flags that have no meaning here are accepted with a warning.
    """
    flags, ignored = parse_flags(arguments or ())
    from primedht import daemon
    from primedht.config import load_config
    from primedht.logs import configure_logs

    with _data_dir(flags.get("id")) as data_dir:
        config = load_config(None, flags=_settings(flags, data_dir))
        configure_logs(config.log.level, config.log.format)
        _warn(ignored, flags)
        with contextlib.redirect_stdout(_ReadyLines(sys.stdout, quiet=bool(flags.get("q")))):
            daemon.run(config)


def parse_flags(arguments: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Parse p2pd's command line; return the flags that matter by name, and what was ignored.

    Raises `InvalidArgument`.
    """
    flags: dict[str, Any] = {}
    ignored: list[str] = []
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        found = _FLAG.fullmatch(argument)
        if found is None:
            raise InvalidArgument(f"unexpected argument {argument[:100]!r}; flags look like -listen=ADDR")
        name, value = found[1], found[2]
        if name in _REFUSED:
            raise InvalidArgument(f"-{name}: a JSON configuration is not supported; give flags instead")
        if name in ("h", "help"):
            raise InvalidArgument(f"-{name}: see `primedht p2pd --help`")
        if name in _SWITCHES:
            flags[name] = _switch(name, value)
        elif name in _IDLE_SWITCHES:
            if _switch(name, value) != _IDLE_SWITCHES[name]:
                ignored.append(argument)
        elif name in _TEXT or name in _NUMBERS or name in _DURATIONS:
            if value is None:
                if not rest:
                    raise InvalidArgument(f"-{name} needs a value; give it as -{name}=VALUE")
                value = rest.pop(0)
            flags[name] = _number(name, value) if name in _NUMBERS else value
            if name in _DURATIONS:
                flags[name] = parse_duration(value)
        else:
            ignored.append(argument)
            if value is None and rest and not rest[0].startswith("-"):
                rest.pop(0)
    return flags, ignored


def _switch(name: str, value: str | None) -> bool:
    if value is None:
        return True
    if value not in _BOOL:
        raise InvalidArgument(f"-{name}={value[:100]}: give true or false")
    return _BOOL[value]


def _number(name: str, value: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", value):
        raise InvalidArgument(f"-{name}={value[:100]}: give a whole number")
    return int(value)


def _settings(flags: Mapping[str, Any], data_dir: Path) -> dict[str, Any]:
    """Return the keys of our configuration that stand for p2pd's flags."""
    settings: dict[str, Any] = {
        "node.data_dir": data_dir,
        "node.listen": () if flags.get("noListenAddrs") else _list(flags, "hostAddrs") or _HOST_ADDRS,
        "node.announce": _list(flags, "announceAddrs"),
        "node.bootstrap": _list(flags, "bootstrapPeers") if flags.get("b") else (),
        "node.mode": "server" if flags.get("dht") or flags.get("dhtServer") else "client",
        "node.mdns": False,
        "storage.backend": "memory",
        "storage.durable": False,
        "control.listen": (flags.get("listen", _LISTEN),),
    }
    if flags.get("connManager"):
        high = max(1, flags.get("connHi", _CONN_HI))
        settings["limits.connections_low"] = max(1, min(flags.get("connLo", _CONN_LO), high))
        settings["limits.connections_high"] = high
        settings["limits.connections_grace"] = flags.get("connGrace", _CONN_GRACE_S)
        settings["limits.connections_max"] = high + _SPARE_CONNECTIONS
    return settings


def _list(flags: Mapping[str, Any], name: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in flags.get(name, "").split(",") if part.strip())


def _warn(ignored: Sequence[str], flags: Mapping[str, Any]) -> None:
    import structlog

    log = structlog.get_logger(__name__)
    for argument in ignored:
        log.warning("p2pd_flag_ignored", flag=argument)
    if flags.get("b") and not _list(flags, "bootstrapPeers"):
        log.warning("p2pd_flag_ignored", flag="-b", reason="the public IPFS network is not joined unasked")


@contextlib.contextmanager
def _data_dir(key_file: str | None) -> Iterator[Path]:
    """Give a directory for as long as the node runs, with the identity of `key_file` in it.

    Raises `KeyNotFound`, `KeyFileExposed` or `MalformedKey`.
    """
    from primedht.datadir import prepare_data_dir
    from primedht.errors import KeyNotFound
    from primedht.keystore import read_identity_file, write_key_file

    with tempfile.TemporaryDirectory(prefix="primedht-p2pd-") as name:
        directory = Path(name)
        if key_file is not None:
            try:
                key = read_identity_file(Path(key_file))
            except FileNotFoundError:
                raise KeyNotFound(f"{key_file}: no such file; check -id") from None
            prepare_data_dir(directory)
            write_key_file(directory / "identity", key)
        yield directory


class _ReadyLines(io.TextIOBase):
    """Standard output for a daemon whose starter waits for p2pd's lines instead of our JSON one."""

    def __init__(self, out: TextIO, *, quiet: bool) -> None:
        self._out = out
        self._quiet = quiet

    def write(self, text: str) -> int:
        if not self._quiet:
            ready = json.loads(text)
            addrs = (addr.rpartition("/p2p/")[0] for addr in ready["addrs"])
            lines = (
                f"Control socket: {ready['control']}",
                f"Peer ID: {ready['peer_id']}",
                "Peer Addrs:",
                *addrs,
            )
            self._out.write("".join(f"{line}\n" for line in lines))
        return len(text)

    def flush(self) -> None:
        self._out.flush()
