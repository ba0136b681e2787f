"""`model`: publish models under a key's name, and get them from whoever has them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from primedht.cli import common
from primedht.cli.common import AsJson, Control, DataDirOption, NewDirectory, Timeout
from primedht.cli.help import App
from primedht.cli.progress import Meter
from primedht.errors import InvalidArgument
from primedht.limits import CONTROL_TIMEOUT_S_MAX
from primedht.units import format_count, format_date, format_size

if TYPE_CHECKING:
    from primedht.client import FoundModel
    from primedht.results import KeptBlocks, PeerShare
    from primedht.tensors.manifest import ModelMetadata

app = App(name="model", help="Models: named, versioned, signed.")

NameArgument = Annotated[
    str,
    typer.Argument(metavar="NAME", help="OWNER/NAME or OWNER/NAME@VERSION; OWNER: peer id, me or alias."),
]


@app.command(epilog="Example: primedht model push ./resnet50 --name me/resnet50 --metadata license=MIT")
def push(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="A file, or a directory such as Hugging Face's.")
    ],
    name: Annotated[str, typer.Option(metavar="NAME", help="What it is called: me/NAME, as a rule.")],
    version: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Its number, above the latest; else the next.")
    ] = None,
    metadata: Annotated[
        list[str] | None, typer.Option(metavar="K=V", help="What else to say about it; repeatable.")
    ] = None,
    training_config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="How it was trained: a JSON object.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(metavar="KEY", help="Publish as the owner of this key of `primedht key`.")
    ] = None,
    in_place: Annotated[
        bool, typer.Option("--in-place", help="Do not copy files; read them where they are.")
    ] = False,
    wait: Annotated[
        bool, typer.Option(help="Wait until other nodes have it to keep; they get it anyway.")
    ] = True,
    timeout: Timeout = "60s",
    as_json: AsJson = False,
    control: Control = None,
    data_dir: DataDirOption = None,
) -> None:
    """Publish a model's next version; its files stay readable for all who know the name.

    Other nodes are asked to keep it, so that it outlives this one; --timeout is for the record alone.
    """
    told = dict(_pair(text) for text in metadata or ())
    config = None if training_config is None else _json_object(training_config)
    limit_s = common.timeout_s(timeout)
    kept: KeptBlocks | None = None
    with Meter("pushing", quiet=as_json) as meter:
        pushed = common.client(control, data_dir).models.push(
            *(path, name), version=version, metadata=told, training_config=config, key=key, in_place=in_place,
            timeout=limit_s,
        )  # fmt: skip
        if wait:
            kept = pushed.wait(timeout=CONTROL_TIMEOUT_S_MAX, progress=meter.on_transfer)
    _print_model(pushed.found, kept, as_json=as_json)


@app.command(epilog="Example: primedht model pull org/resnet50@3 -o resnet50")
def pull(
    name: NameArgument,
    output: NewDirectory = None,
    trace: Annotated[bool, typer.Option("--trace", help="Say which peers sent how much of it.")] = False,
    timeout: Timeout = "1h",
    as_json: AsJson = False,
    control: Control = None,
    data_dir: DataDirOption = None,
) -> None:
    """Write a model's files to a directory, whole or not at all, and provide them from there."""
    target = output if output is not None else Path(name.rpartition("/")[2].partition("@")[0])
    limit_s = common.timeout_s(timeout)
    with Meter("pulling", quiet=as_json):
        found = common.client(control, data_dir).models.pull(name, target, timeout=limit_s, want_trace=trace)
    size = found.manifest.size_bytes
    shown: dict[str, Any] = {
        "path": str(target),
        "name": found.name,
        "cid": str(found.cid),
        "content_bytes": size,
    }
    lines = [f"{target}  {format_size(size)}  {found.name}"]
    if trace:
        shown["peers"] = [asdict(share) | {"peer": str(share.peer)} for share in found.peers]
        lines += _share_texts(found)
    common.print_result(shown, *lines, as_json=as_json)


@app.command(epilog="Example: primedht model info org/resnet50")
def info(
    name: NameArgument,
    timeout: Timeout = "60s",
    as_json: AsJson = False,
    control: Control = None,
    data_dir: DataDirOption = None,
) -> None:
    """Show what a model is, as its owner signed it."""
    daemon, limit_s = common.client(control, data_dir), common.timeout_s(timeout)
    _print_model(daemon.models.info(name, timeout=limit_s), as_json=as_json)


@app.command(epilog="Example: primedht model versions org/resnet50")
def versions(
    name: NameArgument,
    timeout: Timeout = "60s",
    as_json: AsJson = False,
    control: Control = None,
    data_dir: DataDirOption = None,
) -> None:
    """List a model's versions, the latest last."""
    daemon, limit_s = common.client(control, data_dir), common.timeout_s(timeout)
    for each in daemon.models.versions(name, timeout=limit_s):
        shown = each._asdict() | {"cid": str(each.cid)}
        date, size = format_date(each.published_unix_s), format_size(each.size_bytes)
        line = f"{each.version}  {date}  {size}  {each.cid}"
        common.print_result(shown, line, as_json=as_json)


@app.command("ls", epilog="Example: primedht model ls")
def list_models(as_json: AsJson = False, control: Control = None, data_dir: DataDirOption = None) -> None:
    """List the models that this node keeps."""
    for each in common.client(control, data_dir).models.kept():
        shown = each._asdict() | {"cid": str(each.cid)}
        line = f"{each.name}  {each.cid}" + ("  (partial)" if each.partial else "")
        common.print_result(shown, line, as_json=as_json)


@app.command(epilog="Example: primedht model verify me/resnet50@3")
def verify(
    name: NameArgument,
    timeout: Timeout = "1h",
    as_json: AsJson = False,
    control: Control = None,
    data_dir: DataDirOption = None,
) -> None:
    """Read all of a model, fetching what is missing, and compare it with what its owner signed."""
    limit_s = common.timeout_s(timeout)
    with Meter("verifying", quiet=as_json):
        found = common.client(control, data_dir).models.verify(name, timeout=limit_s)
    manifest = found.manifest
    shown = {"name": found.name, "files": len(manifest.files), "content_bytes": manifest.size_bytes}
    common.print_result(shown, f"{found.name}  {manifest}: intact", as_json=as_json)


@app.command(epilog="Example: primedht model rm me/resnet50@1")
def rm(
    name: NameArgument,
    timeout: Timeout = "60s",
    as_json: AsJson = False,
    control: Control = None,
    data_dir: DataDirOption = None,
) -> None:
    """Keep a model or one version no longer, and list it no more if it is yours; gc frees the room."""
    daemon, limit_s = common.client(control, data_dir), common.timeout_s(timeout)
    count = daemon.models.remove(name, timeout=limit_s)
    text = f"{format_count(count, 'version')} kept no longer"
    common.print_result({"versions": count}, text, as_json=as_json)


def _parameters_text(model: ModelMetadata) -> str:
    if not model.parameters_count:
        return "none known: no file has safetensors' tensors"
    return f"{model.parameters_count:,}" + (f" of {model.architecture}" if model.architecture else "")


def _print_model(found: FoundModel, kept: KeptBlocks | None = None, *, as_json: bool) -> None:
    manifest, model = found.manifest, found.manifest.model
    shown: dict[str, Any] = {
        "name": found.name,
        "cid": str(found.cid),
        "root": str(manifest.root),
        "owner": str(manifest.owner),
        "id": model.id,
        "version": model.version,
        "architecture": model.architecture,
        "parameters_count": model.parameters_count,
        "created_at": model.created_at,
        "updated_at": model.updated_at,
        "training_config": dict(model.training_config),
        "metadata": dict(manifest.metadata),
        "base": None if manifest.base is None else str(manifest.base),
        "content_bytes": manifest.size_bytes,
        "files": [
            {"path": file.path, "bytes": file.size_bytes, "cid": str(file.cid)} for file in manifest.files
        ],
    }
    lines = [
        f"{found.name}  {manifest}",
        f"manifest      {found.cid}",
        f"published     {format_date(model.updated_at)}, the first version {format_date(model.created_at)}",
        f"parameters    {_parameters_text(model)}",
    ]
    if model.training_config:
        lines.append(f"trained with  {json.dumps(dict(model.training_config))}")
    lines += [f"{name}: {text}" for name, text in manifest.metadata.items()]
    if kept is not None:
        shown["kept"] = {
            "wanted": kept.wanted,
            "receipts": common.peer_texts(kept.receipts),
            "refused": common.refusals_json(kept.refused),
            "expires_unix_s": kept.expires_unix_s,
        }
        lines += _keepers(kept)
    common.print_result(shown, *map(common.printable, lines), as_json=as_json)


def _share_texts(found: FoundModel) -> list[str]:
    """Say who sent how much, the most first."""
    if not found.peers:
        return ["no block came from other peers: all of them were here"]
    return list(map(_share_text, sorted(found.peers, key=lambda share: -share.bytes)))


def _share_text(share: PeerShare) -> str:
    rate = "" if share.rate is None else f", {format_size(int(share.rate))}/s at last"
    gone = f"; given up: {share.gone}" if share.gone else ""
    wire = f", {format_size(share.wire_bytes)} on the wire" if share.wire_bytes < share.bytes else ""
    blocks = format_count(share.blocks, "block")
    return f"{share.peer}  {format_size(share.bytes)} in {blocks}{wire}{rate}{gone}"


def _keepers(kept: KeptBlocks) -> list[str]:
    if not kept.wanted:
        return ["kept          here only: nodes of a public network keep nothing for others"]
    text = common.block_keepers_text(len(kept.receipts), kept.refused, kept.wanted)
    if not kept.receipts:
        return [f"kept          {text}"]
    return [
        f"kept          {text}, until {format_date(kept.expires_unix_s)} and longer while this node runs",
        *(f"              {peer}" for peer in kept.receipts),
    ]


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise InvalidArgument(f"--metadata is {text[:60]!r}; write it as NAME=TEXT")
    return name, value


def _json_object(path: Path) -> dict[str, object]:
    from primedht.limits import MODEL_METADATA_BYTES_MAX

    try:
        config = json.loads(common.read_input(str(path), bytes_max=MODEL_METADATA_BYTES_MAX))
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"{path} is not JSON: {error}; correct it") from None
    if not isinstance(config, dict):
        raise InvalidArgument(f"{path} is no JSON object; write one in braces")
    return config
