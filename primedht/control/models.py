"""Models over the control socket: their bytes go as blocks before, or are read as blocks after."""

from __future__ import annotations

import json

from primedht.cids import Cid
from primedht.control import encode
from primedht.control.directories import writable_target
from primedht.control.operation import Operation
from primedht.errors import InvalidArgument, NotPermitted
from primedht.ids import PeerId
from primedht.ml.models import FoundModel
from primedht.pb import p2pd_pb2 as pb

_ADMINISTRATION = frozenset({"publish_model", "remove_model", "set_alias", "remove_alias"})


async def publish(op: Operation) -> None:
    """Answer PublishModelRequest."""
    wanted = op.request.publish_model

    def given(field: str) -> str | None:
        return getattr(wanted, field) if wanted.HasField(field) else None

    config = _config(wanted.training_config)
    published = await op.report_while(
        lambda: op.node.models.publish(
            Cid.from_bytes(wanted.root),
            wanted.name,
            version=wanted.version if wanted.HasField("version") else None,
            file_name=given("file_name"),
            architecture=given("architecture"),
            training_config=config,
            metadata=dict(wanted.metadata),
            key=given("key"),
            timeout=op.timeout_s,
        ),
        pb.Progress.STORE,
    )
    model = _model(published.found)
    model.put.CopyFrom(encode.put_result(published.put, want_trace=op.want_trace))
    await op.send(pb.PrimeResponse(model=model))


async def fetch(op: Operation) -> None:
    """Answer FetchModelRequest."""
    name = op.request.fetch_model.name
    found = await op.report_while(
        lambda: op.node.models.fetch(name, timeout=op.timeout_s), pb.Progress.TRANSFER
    )
    await op.send(pb.PrimeResponse(model=_fetched_model(op, found)))


async def pull(op: Operation) -> None:
    """Answer PullModelRequest."""
    wanted = op.request.pull_model
    target = await writable_target(op.session, wanted)
    found = await op.report_while(
        lambda: op.node.models.pull(wanted.name, target, timeout=op.timeout_s), pb.Progress.TRANSFER
    )
    await op.send(pb.PrimeResponse(model=_fetched_model(op, found)))


async def verify(op: Operation) -> None:
    """Answer VerifyModelRequest."""
    name = op.request.verify_model.name
    found = await op.report_while(
        lambda: op.node.models.verify(name, timeout=op.timeout_s), pb.Progress.TRANSFER
    )
    await op.send(pb.PrimeResponse(model=_model(found)))


async def describe(op: Operation) -> None:
    """Answer DescribeModelRequest."""
    found = await op.node.models.info(op.request.describe_model.name, timeout=op.timeout_s)
    await op.send(pb.PrimeResponse(model=_model(found)))


async def list_versions(op: Operation) -> None:
    """Answer ListVersionsRequest."""
    versions = pb.ModelVersions()
    for each in await op.node.models.versions(op.request.list_versions.name, timeout=op.timeout_s):
        versions.versions.add(
            version=each.version,
            cid=bytes(each.cid),
            published_unix_s=each.published_unix_s,
            size_bytes=each.size_bytes,
        )
    await op.send(pb.PrimeResponse(versions=versions))


async def list_models(op: Operation) -> None:
    """Answer ListModelsRequest, a model at a time."""
    for each in await op.node.models.kept():
        kept = pb.KeptModel(name=str(each.name), cid=bytes(each.cid), partial=each.partial)
        await op.send(pb.PrimeResponse(more=True, kept_models=pb.KeptModels(models=[kept])))
    await op.done()


async def remove(op: Operation) -> None:
    """Answer RemoveModelRequest."""
    removed = await op.node.models.remove(op.request.remove_model.name, timeout=op.timeout_s)
    await op.send(pb.PrimeResponse(removed_models=pb.RemovedModels(versions=removed)))


async def find_tensor(op: Operation) -> None:
    """Answer FindTensorRequest."""
    wanted = op.request.find_tensor
    found, placed = await op.node.models.find_tensor(wanted.name, wanted.tensor, timeout=op.timeout_s)
    span = placed.span
    tensor = pb.ModelTensor(
        file=bytes(found.manifest.files[placed.file].cid),
        dtype=span.dtype.name,
        shape=span.shape,
        start=span.start,
        end=span.end,
    )
    await op.send(pb.PrimeResponse(tensor=tensor))


async def set_alias(op: Operation) -> None:
    """Answer SetAliasRequest."""
    wanted = op.request.set_alias
    await op.node.models.aliases.set(wanted.alias, PeerId(wanted.owner))
    await op.done()


async def remove_alias(op: Operation) -> None:
    """Answer RemoveAliasRequest."""
    was_set = await op.node.models.aliases.remove(op.request.remove_alias.alias)
    await op.send(pb.PrimeResponse(removed_alias=pb.RemovedAlias(was_set=was_set)))


async def list_aliases(op: Operation) -> None:
    """Answer ListAliasesRequest."""
    aliases = pb.Aliases()
    for alias, owner in (await op.node.models.aliases.all()).items():
        aliases.aliases.add(alias=alias, owner=bytes(owner))
    await op.send(pb.PrimeResponse(aliases=aliases))


def check_permitted(name: str) -> None:
    """Refuse to let anybody of this machine sign with its keys. Raises `NotPermitted`."""
    if name in _ADMINISTRATION:
        raise NotPermitted(f"{name} is refused over TCP; use the Unix socket, or set control.tcp_trusted")


def _config(text: str) -> dict[str, object]:
    try:
        config = json.loads(text or "{}")
    except (ValueError, RecursionError):
        config = None
    if not isinstance(config, dict):
        raise InvalidArgument("the training configuration is no JSON object")
    return config


def _fetched_model(op: Operation, found: FoundModel) -> pb.Model:
    model = _model(found)
    if op.want_trace and found.fetched is not None:
        model.peers.extend(map(encode.peer_share, found.fetched.peers))
    return model


def _model(found: FoundModel) -> pb.Model:
    return pb.Model(name=str(found.name), cid=bytes(found.cid), manifest=found.manifest.encode())
