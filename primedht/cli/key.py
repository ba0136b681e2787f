"""`key`: named Ed25519 keys that sign records, and pre-shared keys of networks. Needs no daemon."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from primedht.cli import common
from primedht.cli.common import AsJson
from primedht.cli.help import App
from primedht.errors import InvalidArgument, KeyExists
from primedht.limits import KEY_FILE_BYTES_MAX

if TYPE_CHECKING:
    from primedht.keystore import Keystore

app = App(name="key", help="Named keys that sign; keys of networks.")

_Name = Annotated[str, typer.Argument(metavar="NAME", help="The key's name.")]
_DataDir = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="The node's data directory. Also: PRIMEDHT_NODE_DATA_DIR."),
]


@app.command(epilog="Example: primedht key new release")
def new(name: _Name, as_json: AsJson = False, data_dir: _DataDir = None) -> None:
    """Make a key and keep it under a name."""
    _print_key(name, str(_keystore(data_dir, create=True).generate(name).peer_id), as_json=as_json)


@app.command("ls", epilog="Example: primedht key ls")
def list_keys(as_json: AsJson = False, data_dir: _DataDir = None) -> None:
    """List the keys by name, with the peer id that each signs as."""
    for name, key in _keystore(data_dir, create=False).list().items():
        _print_key(name, str(key.peer_id), as_json=as_json)


@app.command("import", epilog="Example: primedht key import release key.pem")
def import_key(
    name: _Name,
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="libp2p's private key, its base64, or PEM; - is stdin.")
    ],
    as_json: AsJson = False,
    data_dir: _DataDir = None,
) -> None:
    """Keep an existing Ed25519 key under a name."""
    content = common.read_input(file, bytes_max=KEY_FILE_BYTES_MAX)
    key = _keystore(data_dir, create=True).import_key(name, content)
    _print_key(name, str(key.peer_id), as_json=as_json)


@app.command(epilog="Example: primedht key export release -o release.key")
def export(
    name: _Name,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write it here, mode 0600.")
    ] = None,
    form: Annotated[
        str, typer.Option("--format", metavar="FORM", help="libp2p (protobuf, binary) or pem.")
    ] = "libp2p",
    data_dir: _DataDir = None,
) -> None:
    """Print the private key: whoever has it can sign as you."""
    if form not in ("libp2p", "pem"):
        raise InvalidArgument(f"--format is {form!r}; it must be libp2p or pem")
    key = _keystore(data_dir, create=False).get(name)
    content = key.serialize() if form == "libp2p" else key.serialize_pem()
    common.write_output(content, output, what="the key", mode=0o600)


@app.command(epilog="Example: primedht key psk -o swarm.key")
def psk(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write it here, mode 0600.")
    ] = None,
    show: Annotated[
        Path | None, typer.Option("--show", metavar="FILE", help="Make none: print this one's fingerprint.")
    ] = None,
) -> None:
    """Make a pre-shared key, which locks a network: only nodes that have it can connect.

    Give each of them the file, as network.psk_file or by --psk. kubo calls it swarm.key.
    """
    from primedht.psk import Psk, read_psk_file

    if show is not None:
        print(read_psk_file(show).fingerprint)
        return
    key = Psk.generate()
    if output is not None and output.exists():
        raise KeyExists(f"{output} exists already; give another name, keys are never overwritten")
    common.write_output(key.serialize(), output, what="the key", mode=0o600)
    if output is not None:
        print(key.fingerprint)


def _keystore(data_dir: Path | None, *, create: bool) -> Keystore:
    from primedht import paths
    from primedht.client.locate import DATA_DIR_ENV
    from primedht.datadir import DataDir, prepare_data_dir
    from primedht.keystore import Keystore

    path = data_dir or Path(os.environ.get(DATA_DIR_ENV) or paths.default_data_dir())
    directory = prepare_data_dir(path) if create else DataDir(path.expanduser().absolute())
    return Keystore(directory.keys_path)


def _print_key(name: str, peer_id: str, *, as_json: bool) -> None:
    if as_json:
        common.print_json({"name": name, "peer_id": peer_id})
    else:
        print(name, peer_id, sep="  ")
