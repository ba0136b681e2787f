"""Models by name: publishing versions, finding them, and getting their files or single tensors.

    published = await node.models.push(Path("resnet50"), "me/resnet50")
    await node.models.pull("12D3Koo.../resnet50@1", Path("out"))

A model is a directory of blocks; its manifest says what is in it, and the record of its name lists the
manifests of its versions. Both are signed by the owner, the record is numbered, and blocks are named by their
hashes: whoever serves a model can refuse it, and not change it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from io import BytesIO, FileIO
from pathlib import Path
from typing import Any

import structlog
import trio

from primedht import limits
from primedht.blocks.balanced import Part
from primedht.blocks.block import make_block
from primedht.blocks.blocks import Blocks
from primedht.blocks.blockstore import Fetched
from primedht.blocks.directories import check_name, import_directory
from primedht.blocks.extraction import check_target
from primedht.blocks.placing import fetch_in_place
from primedht.blocks.profiles import profile_named
from primedht.blocks.replicate.placing import Placing
from primedht.blocks.walk import open_regular, walk
from primedht.cids import DAG_CBOR, Cid
from primedht.clock import WallClock
from primedht.errors import (
    DiskFull,
    InvalidArgument,
    InvalidDag,
    InvalidManifest,
    NotPermitted,
    StoreFull,
    UnknownOwner,
    ValueNotFound,
    ValueTooLarge,
)
from primedht.keys import PrivateKey
from primedht.ml.contents import Contents, examine, list_files, read
from primedht.ml.deadlines import within
from primedht.ml.names import ModelName, parse_name
from primedht.ml.owners import Owners
from primedht.ml.records import Records
from primedht.ml.versions import Version, Versions, parse_versions
from primedht.results import KeptBlocks, PutResult
from primedht.tasks import shielded_undo
from primedht.tensors.manifest import (
    Manifest,
    ModelMetadata,
    PlacedTensor,
    encode_table,
    parse_manifest,
    parse_table,
)
from primedht.tensors.schema import check_whole

log = structlog.get_logger(__name__)

PROFILE = profile_named("safetensors")
_PIN = "model:"


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A version of a model. cid: of its manifest. fetched: by `fetch` and `pull`, from whom."""

    name: ModelName
    cid: Cid
    manifest: Manifest
    fetched: Fetched | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return f"{self.name}  {self.cid}  {self.manifest}"


@dataclass(frozen=True, slots=True)
class PublishedModel:
    """put: where the name's record is now. placing: who will keep the blocks beside this node."""

    found: FoundModel
    put: PutResult
    placing: Placing

    def __str__(self) -> str:
        return str(self.found)

    async def wait(self, *, timeout: float = 3600) -> KeptBlocks:
        """Return who keeps the model, once all who were asked have it or refuse, or after `timeout`."""
        return await self.placing.wait(timeout)


@dataclass(frozen=True, slots=True)
class KeptModel:
    """A version that is kept here. partial: not all of it is here yet."""

    name: ModelName
    cid: Cid
    partial: bool


class Models:
    """The models of a node. Names are texts as users write them, see `primedht.ml.names`."""

    def __init__(
        self,
        blocks: Blocks,
        records: Records,
        owners: Owners,
        clock: WallClock,
    ) -> None:
        self.aliases = owners.aliases
        self._blocks = blocks
        self._records = records
        self._clock = clock
        self._owners = owners
        self._locks: defaultdict[bytes, trio.Lock] = defaultdict(trio.Lock)

    # --- publishing ----------------------------------------------------------------------------------

    async def push(
        self, path: Path, name: str, *, in_place: bool = False, timeout: float = 60, **details: Any
    ) -> PublishedModel:
        """Publish a file or a directory, such as a Hugging Face one, as a version of `name`.

        Returns when all of it is here and its record is out; other nodes get it to keep meanwhile, and
        `wait` of what is returned says which.

        in_place: the files are not copied but read where they are, as long as they stay as they are. details:
        as those of `publish`. Names that begin with a dot are left out. Raises as `publish`, and
        `InvalidArgument` for what cannot be read.
        """
        async with self._blocks.adding(PROFILE) as adding:
            adding.directory("")
            try:
                for found in await trio.to_thread.run_sync(lambda: list(walk(path, follow_links=True))):
                    if found.kind == "directory":
                        adding.directory(found.path)
                        continue
                    if found.kind == "symlink":
                        raise InvalidArgument(
                            f"{found.path} is a symbolic link that leads elsewhere; copy the file first"
                        )
                    opening = partial(open_regular, found.local, follow=not found.path)
                    with FileIO(await trio.to_thread.run_sync(opening)) as file:
                        if in_place:
                            local = await trio.to_thread.run_sync(found.local.resolve)
                            await adding.file_in_place(found.path or path.name, file, local)
                        else:
                            await adding.file(found.path or path.name, file)
            except OSError as error:
                raise InvalidArgument(f"{error.filename or path}: {error.strerror}; check the path") from None
            root = await adding.finish()
            return await self.publish(root.cid, name, timeout=timeout, **details)

    async def publish(
        self,
        root: Cid,
        name: str,
        *,
        version: int | None = None,
        file_name: str | None = None,
        architecture: str | None = None,
        training_config: Mapping[str, object] | None = None,
        metadata: Mapping[str, str] | None = None,
        key: str | None = None,
        timeout: float = 60,
    ) -> PublishedModel:
        """Publish a directory of blocks that are here as a version of `name`, pin it and announce it.

        Args:
            version: above the latest; by default the next number.
            file_name: `root` is a file, which gets this name in a directory of its own.
            architecture: by default the one in a Hugging Face config.json.
            key: of the keystore, by its name; `me` is its owner then.
            training_config: any map of texts, numbers, lists and maps.
        Raises:
            KeyNotFound: no key has that name.
            NotPermitted: the owner's private key is not here. UnknownOwner, InvalidArgument.
            PickleRefused, InvalidTensor: a file is not to be spread, or not what its name says.
            StaleRecord: `version` is not above the latest.
            QuorumNotReached: too few peers took the record; nothing is kept then.
        """
        me = self._owners.me_by(key)
        wanted = parse_name(name, me, await self.aliases.all())
        signer = self._owners.signer(wanted.owner)
        if key is not None and wanted.owner != me:
            raise NotPermitted(f"key {key} is that of {me}, and {name} is {wanted.owner}'s; write me/NAME")
        if wanted.version is not None and version not in (None, wanted.version):
            raise InvalidArgument(f"{name} with version {version}; give it once")
        given = root
        if file_name is not None:
            root = await self._in_directory(root, file_name)
        contents = await examine(self._blocks, root)
        async with self._locks[wanted.key]:
            versions = await self._versions(wanted, timeout=timeout)
            number = wanted.version if version is None else version
            number = versions.latest + 1 if number is None else number
            now = int(self._clock.unix_now())
            model = ModelMetadata(
                id=wanted.name,
                version=number,
                architecture=contents.architecture if architecture is None else architecture,
                parameters_count=contents.parameters_count,
                created_at=versions.created_unix_s,
                updated_at=now,
                training_config=training_config or {},
            )
            base = versions.listed[-1].cid if versions.listed else None
            described = (model, root, contents, base, metadata or {})
            async with self._manifest(signer, *described) as (cid, manifest):
                added = Version(number, cid, now, manifest.size_bytes)
                listed = versions.with_version(added)
                pin = f"{_PIN}{ModelName(wanted.owner, wanted.name, number)}"
                await self._blocks.pin(cid, name=pin, announce=False)
                try:
                    put = await self._put(wanted, listed, timeout=timeout)
                except BaseException:
                    with shielded_undo():
                        await self._blocks.unpin(cid, name=pin)
                    raise
                await self._blocks.store.rename_root(given, cid)
                self._blocks.announce(cid)
                placing = await self._records.replicate(cid, wanted.owner)
        log.info("model_published", name=str(wanted), version=number, manifest=str(cid))
        found = FoundModel(ModelName(wanted.owner, wanted.name, number), cid, manifest)
        return PublishedModel(found, put, placing)

    async def remove(self, name: str, *, timeout: float = 60) -> int:
        """Keep a model, or one version of it, no longer; return how many were kept here.

        If it is our own, its record lists it no more either; others who pulled it still have it.
        """
        wanted = await self._parse(name)
        async with self._locks[wanted.key]:
            if self._owners.may_sign(wanted.owner):
                await self._unlist(wanted, timeout=timeout)
            kept = [
                each
                for each in await self.kept()
                if (each.name.owner, each.name.name) == (wanted.owner, wanted.name)
                and wanted.version in (None, each.name.version)
            ]
            for each in kept:
                await self._blocks.unpin(each.cid, name=f"{_PIN}{each.name}")
        return len(kept)

    # --- finding ---------------------------------------------------------------------------------------

    async def versions(self, name: str, *, timeout: float = 60) -> tuple[Version, ...]:
        """Return the versions that are listed, ascending. Raises `ValueNotFound`, `UnknownOwner`."""
        wanted = await self._parse(name)
        listed = (await self._versions(wanted, timeout=timeout)).listed
        if not listed:
            raise ValueNotFound(f"{wanted.owner} has published no model {wanted.name!r} that can be found")
        return listed

    async def info(self, name: str, *, timeout: float = 60) -> FoundModel:
        """Return a version and its manifest, checked to be its owner's and what was asked for.

        Raises `ValueNotFound`, `UnknownOwner`, `InvalidManifest`, and `BlockNotFound` if nobody has it.
        """
        wanted = await self._parse(name)
        listed = Versions(0, await self.versions(str(wanted), timeout=timeout))
        version = listed.pick(wanted.version)
        with within(timeout, f"the manifest of {wanted}"):
            block = await self._blocks.get(version.cid)
        manifest = await trio.to_thread.run_sync(parse_manifest, block)
        said = (manifest.owner, manifest.model.id, manifest.model.version, manifest.size_bytes)
        if said != (wanted.owner, wanted.name, version.version, version.size_bytes):
            raise InvalidManifest(f"the manifest of {wanted} is that of {manifest.owner}/{manifest.model.id}")
        return FoundModel(ModelName(wanted.owner, wanted.name, version.version), version.cid, manifest)

    async def tensors(self, found: FoundModel) -> list[PlacedTensor]:
        """Return what tensors a model has, by file and place. Raises `InvalidManifest`."""
        table = found.manifest.tensors
        if table is None:
            return []
        if (await self._blocks.describe(table)).size_bytes > limits.TENSOR_TABLE_BYTES_MAX:
            raise InvalidManifest(f"the model's tensor table is over {limits.TENSOR_TABLE_BYTES_MAX} bytes")
        data = await read(self._blocks, table)
        return await trio.to_thread.run_sync(parse_table, data, found.manifest.files)

    async def find_tensor(
        self, name: str, tensor: str, *, timeout: float = 60
    ) -> tuple[FoundModel, PlacedTensor]:
        """Return where a tensor of a model is. Raises `ValueNotFound` if it has none of that name."""
        found = await self.info(name, timeout=timeout)
        tensors = await self.tensors(found)
        for placed in tensors:
            if placed.span.name == tensor:
                return found, placed
        others = f"{len(tensors)}, such as {tensors[0].span.name[:100]!r}" if tensors else "none"
        raise ValueNotFound(f"{found.name} has no tensor {tensor[:100]!r}; it has {others}")

    async def read_tensor(self, name: str, tensor: str, *, timeout: float = 60) -> tuple[PlacedTensor, bytes]:
        """Return a tensor's bytes, row-major and little-endian; only its blocks are fetched.

        Raises as `find_tensor`, and `InvalidManifest` if its file has not as many.
        """
        found, placed = await self.find_tensor(name, tensor, timeout=timeout)
        file = found.manifest.files[placed.file]
        data = await read(self._blocks, file.cid, placed.span.start, placed.span.end)
        check_whole(placed.span, data)
        return placed, data

    async def kept(self) -> list[KeptModel]:
        """Return the versions that are kept here, our own and pulled ones."""
        kept = []
        async for pin in self._blocks.pins.all():
            if not pin.name.startswith(_PIN):
                continue
            try:
                name = parse_name(pin.name.removeprefix(_PIN), self._owners.me, {})
            except (InvalidArgument, UnknownOwner):
                continue  # a user's own pin
            if name.version is not None:
                kept.append(KeptModel(name, pin.cid, pin.partial))
        return sorted(kept, key=lambda each: str(each.name.key) + f"{each.name.version:020}")

    # --- getting ---------------------------------------------------------------------------------------

    async def fetch(self, name: str, *, timeout: float = 3600) -> FoundModel:
        """Get all of a version, keep it and announce it. What an interrupted call got is not got again.

        The sizes that its manifest claims are compared with its directories before its files are fetched.
        Raises as `info`, and `StoreFull`, `DiskFull`.
        """
        with within(timeout, name):
            found = await self.info(name, timeout=timeout)
            await self._check_files(found)
            async with self._keeping(found) as pin:
                fetched = await self._blocks.fetch(found.cid, bytes_max=_dag_bytes_max(found.manifest))
                await self._blocks.pin(found.cid, name=pin)
        return replace(found, fetched=fetched)

    async def pull(self, name: str, to: Path, *, timeout: float = 3600) -> FoundModel:
        """Write a version's files to a directory, which appears whole or not at all, and keep it.

        They are provided from there, as long as they stay as they are; there is no second copy. What an
        interrupted call got is not got again. Raises as `fetch`, and `InvalidArgument` if `to` exists or
        cannot be written.
        """
        with within(timeout, name):
            found = await self.info(name, timeout=timeout)
            await trio.to_thread.run_sync(check_target, to, 0)
            await self._check_files(found)
            async with self._keeping(found) as pin:
                fetched = await fetch_in_place(
                    self._blocks, found.cid, found.manifest.root, to, bytes_max=_dag_bytes_max(found.manifest)
                )
                await self._blocks.pin(found.cid, name=pin)
        return replace(found, fetched=fetched)

    async def verify(self, name: str, *, timeout: float = 3600) -> FoundModel:
        """Read all of a version, fetched where it is missing, and compare it with its manifest.

        Raises as `fetch`, and `InvalidManifest` where they differ.
        """
        found = await self.fetch(name, timeout=timeout)
        contents = await examine(self._blocks, found.manifest.root)
        if list(contents.tensors) != await self.tensors(found):
            raise InvalidManifest(f"the tensor table of {found.name} is not that of its files")
        for file in contents.files:
            size = 0
            async for piece in self._blocks.read_file(file.cid):
                size += len(piece)
            if size != file.size_bytes:
                raise InvalidManifest(f"{file.path} has {size} bytes, and not {file.size_bytes}")
        return found

    # --- parts of the above ------------------------------------------------------------------------------

    async def _parse(self, name: str) -> ModelName:
        return parse_name(name, self._owners.me, await self.aliases.all())

    async def _versions(self, name: ModelName, *, timeout: float) -> Versions:
        """Return what the network knows of a name; no versions if that is nothing."""
        try:
            record = await self._records.get_record(name.key, timeout=timeout)
        except ValueNotFound:
            return Versions(int(self._clock.unix_now()))
        return parse_versions(record.value)

    async def _put(self, name: ModelName, versions: Versions, *, timeout: float) -> PutResult:
        ttl_s = limits.SIGNED_LIFETIME_S_MAX  # it outlives its publisher; republished while that runs
        return await self._records.put(name.key, versions.encode(), ttl=ttl_s, timeout=timeout)

    async def _unlist(self, name: ModelName, *, timeout: float) -> None:
        versions = await self._versions(name, timeout=timeout)
        rest = Versions(0) if name.version is None else versions.without(name.version)
        if not versions.listed or rest == versions:
            return
        if rest.listed:
            await self._put(name, rest, timeout=timeout)
        else:
            await self._records.delete(name.key, timeout=timeout)

    async def _in_directory(self, file: Cid, name: str) -> Cid:
        """Return the directory that has this one file."""
        check_name(name)
        size_bytes = (await self._blocks.describe(file)).size_bytes
        dag_bytes = (await self._blocks.stat(file)).bytes
        directory = import_directory({name: Part(file, size_bytes, dag_bytes)}, PROFILE)
        placed = list(directory)
        for each in placed:
            await self._blocks.put_block(each.block)
        return placed[-1].block.cid

    @asynccontextmanager
    async def _manifest(
        self,
        signer: PrivateKey,
        model: ModelMetadata,
        root: Cid,
        contents: Contents,
        base: Cid | None,
        metadata: Mapping[str, str],
    ) -> AsyncIterator[tuple[Cid, Manifest]]:
        """Store a manifest and the tensor table; they go again unless the block ends well."""
        async with self._blocks.adding(PROFILE) as adding:
            table = None
            if contents.tensors:
                encoded = await trio.to_thread.run_sync(encode_table, contents.tensors)
                table = (await adding.file("", BytesIO(encoded))).cid
            unsigned = Manifest(model, signer.peer_id, root, contents.files, table, base, dict(metadata))
            manifest = unsigned.signed(signer)
            block = make_block(manifest.encode(), DAG_CBOR)
            if parse_manifest(block.data) != manifest:
                raise InvalidArgument(
                    "the training configuration has a value that does not come back as it is"
                )
            with self._blocks.store.hold() as hold:
                adding.fresh.update(cid.multihash for cid in await self._blocks.store.put([block], hold=hold))
                yield block.cid, manifest

    @asynccontextmanager
    async def _keeping(self, found: FoundModel) -> AsyncIterator[str]:
        """Yield the name of the pin under which a model is kept, what there is of it from now on.

        It is kept no longer if there is no room for it, or if the block finds it to be more, or something
        else, than its manifest says.
        """
        name = f"{_PIN}{found.name}"
        was_kept = any(pin.name == name and not pin.partial for pin in await self._blocks.pins.of(found.cid))
        if not was_kept:
            await self._blocks.pins.add(found.cid, name=name, partial=True)
        try:
            yield name
        except (ValueTooLarge, InvalidDag, StoreFull, DiskFull) as error:
            if not was_kept:
                await self._blocks.unpin(found.cid, name=name)
            if isinstance(error, ValueTooLarge):
                raise InvalidManifest(f"{found.name} has more than its manifest says: {error}") from None
            raise

    async def _check_files(self, found: FoundModel) -> None:
        """Compare a manifest with its directories and the files' own sizes, before the files are fetched."""
        try:
            files = await list_files(self._blocks, found.manifest.root)
        except InvalidArgument as error:
            raise InvalidManifest(f"{found.name}: {error}") from None
        if files != found.manifest.files:
            raise InvalidManifest(f"the manifest of {found.name} lists other files or sizes than there are")


def _dag_bytes_max(manifest: Manifest) -> int:
    """Return what a model's files, inner nodes, directories and tensor table can take at most."""
    return manifest.size_bytes + manifest.size_bytes // 64 + limits.TENSOR_TABLE_BYTES_MAX
