"""`Client.models` and `AsyncClient.models`: both have the methods of `Node.models`, and the same names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from primedht.blocks.extraction import check_target
from primedht.client import _blocks, _models
from primedht.client._call import Duration
from primedht.client._models import FoundModel, KeptModel, ModelVersion, TensorPlace
from primedht.client._transfer import OnProgress
from primedht.errors import NotPermitted
from primedht.ids import PeerId
from primedht.results import KeptBlocks

if TYPE_CHECKING:
    from primedht.client.aio import AsyncClient
    from primedht.client.sync import Client
    from primedht.tensors.arrays import Array

PROFILE = "safetensors"


@dataclass(frozen=True)
class PushedModel:
    """A version that the daemon has and has published, while others get it to keep."""

    found: FoundModel
    _client: Client = field(repr=False, compare=False)

    def __str__(self) -> str:
        return str(self.found)

    def wait(self, *, timeout: Duration = 3600, progress: OnProgress | None = None) -> KeptBlocks:
        """Return who keeps it, once all who were asked have it or refuse, or after `timeout`.

        The daemon goes on by itself; `Client.wait_kept` with the CID of the manifest asks later.
        """
        return self._client.wait_kept(self.found.cid, timeout=timeout, progress=progress)


@dataclass(frozen=True)
class AsyncPushedModel:
    """As `PushedModel`."""

    found: FoundModel
    _client: AsyncClient = field(repr=False, compare=False)

    def __str__(self) -> str:
        return str(self.found)

    async def wait(self, *, timeout: Duration = 3600, progress: OnProgress | None = None) -> KeptBlocks:
        """Return who keeps it, as `PushedModel.wait` does."""
        return await self._client.wait_kept(self.found.cid, timeout=timeout, progress=progress)


class Models:
    """The models of a daemon. Names are `OWNER/NAME[@VERSION]`, OWNER a peer id, `me` or an alias."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def push(
        self,
        path: str | os.PathLike[str],
        name: str,
        *,
        version: int | None = None,
        architecture: str | None = None,
        training_config: Mapping[str, object] | None = None,
        metadata: Mapping[str, str] | None = None,
        key: str | None = None,
        in_place: bool = False,
        timeout: Duration = 60,
    ) -> PushedModel:
        """Publish a file or a directory as a version of `name`; the daemon reads it through open files.

        Returns once the daemon has all of it and the name's record is out; `wait` for others to have it too.

        key: a named key of the daemon, whose owner `me` is then. in_place: the files are not copied but read
        where they are, as long as they stay as they are. timeout: for publishing, once its bytes
        are with the daemon. Raises as `primedht.ml.models.Models.publish`.
        """
        pin = _models.upload_pin()
        added = self._client.add(
            Path(path), profile=PROFILE, name=pin, ttl=_models.UPLOAD_TTL_S, announce=False,
            in_place=in_place, follow_links=True,
        )  # fmt: skip
        try:
            found = self._client._one(
                _models.publish(
                    *(added.cid, name), version=version, file_name=_models.file_name_of(path),
                    architecture=architecture, training_config=training_config, metadata=metadata, key=key,
                    timeout=timeout,
                )
            )  # fmt: skip
            return PushedModel(found, self._client)
        finally:
            self._client.unpin(added.cid, name=pin)

    def pull(
        self,
        name: str,
        to: str | os.PathLike[str],
        *,
        timeout: Duration = 3600,
        want_trace: bool = False,
    ) -> FoundModel:
        """Write a version's files to a new directory, whole or not at all; the daemon keeps it too.

        A daemon of the same user on the same machine writes the files itself and provides them from there,
        as long as they stay as they are; another one keeps a copy. want_trace: say which peers sent it.
        """
        try:
            call = _models.pull(name, Path(to), timeout=timeout, want_trace=want_trace)
            return self._client._one(call)
        except NotPermitted:
            return self._pull_copy(name, to, timeout=timeout, want_trace=want_trace)

    def _pull_copy(
        self, name: str, to: str | os.PathLike[str], *, timeout: Duration, want_trace: bool
    ) -> FoundModel:
        known = self.info(name, timeout=timeout)
        check_target(Path(to), known.manifest.size_bytes)
        found = self.fetch(known.name, timeout=timeout, want_trace=want_trace)
        self._client.fetch(found.manifest.root, to, timeout=timeout)
        return found

    def fetch(self, name: str, *, timeout: Duration = 3600, want_trace: bool = False) -> FoundModel:
        """Get all of a version and keep it, without writing its files anywhere."""
        return self._client._one(_models.fetch(name, timeout=timeout, want_trace=want_trace))

    def verify(self, name: str, *, timeout: Duration = 3600) -> FoundModel:
        """Read all of a version, fetched where it is missing, and compare it with its manifest."""
        return self._client._one(_models.verify(name, timeout=timeout))

    def info(self, name: str, *, timeout: Duration = 60) -> FoundModel:
        """Return a version and its manifest. Raises `ValueNotFound`, `UnknownOwner`, `InvalidManifest`."""
        return self._client._one(_models.info(name, timeout=timeout))

    def versions(self, name: str, *, timeout: Duration = 60) -> list[ModelVersion]:
        """Return the versions that are listed, ascending. Raises `ValueNotFound`, `UnknownOwner`."""
        return list(self._client._each(_models.versions(name, timeout=timeout)))

    def kept(self) -> list[KeptModel]:
        """Return the versions that the daemon keeps, its own and pulled ones."""
        return list(self._client._each(_models.kept()))

    def remove(self, name: str, *, timeout: Duration = 60) -> int:
        """Keep a model or one version no longer, and list it no more if it is our own; return how many."""
        return self._client._one(_models.remove(name, timeout=timeout))

    def find_tensor(self, name: str, tensor: str, *, timeout: Duration = 60) -> TensorPlace:
        """Return where a tensor of a model is. Raises `ValueNotFound`."""
        return self._client._one(_models.find_tensor(name, tensor, timeout=timeout))

    def tensor(self, name: str, tensor: str, *, timeout: Duration = 60) -> Array:
        """Return a tensor of a model as numpy's array; only its blocks are fetched."""
        place = self.find_tensor(name, tensor, timeout=timeout)
        pieces = self._client.cat(place.file, timeout=timeout, **_models.reading(place))
        return _models.array_of(place, b"".join(pieces))

    def set_alias(self, alias: str, owner: PeerId | str) -> None:
        """Let `alias` stand for `owner` on this machine from now on."""
        list(self._client._each(_models.set_alias(alias, owner)))

    def remove_alias(self, alias: str) -> bool:
        """Forget an alias; False if it was not set."""
        return self._client._one(_models.remove_alias(alias))

    def aliases(self) -> dict[str, PeerId]:
        """Return all aliases, each with its owner."""
        return dict(self._client._each(_models.aliases()))


class AsyncModels:
    """The methods of `Models`, awaited."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def push(
        self,
        path: str | os.PathLike[str],
        name: str,
        *,
        version: int | None = None,
        architecture: str | None = None,
        training_config: Mapping[str, object] | None = None,
        metadata: Mapping[str, str] | None = None,
        key: str | None = None,
        in_place: bool = False,
        timeout: Duration = 60,
    ) -> AsyncPushedModel:
        """Publish a file or a directory, as `Models.push` does."""
        pin = _models.upload_pin()
        added = await self._client.add(
            Path(path), profile=PROFILE, name=pin, ttl=_models.UPLOAD_TTL_S, announce=False,
            in_place=in_place, follow_links=True,
        )  # fmt: skip
        try:
            found = await self._client._one(
                _models.publish(
                    *(added.cid, name), version=version, file_name=_models.file_name_of(path),
                    architecture=architecture, training_config=training_config, metadata=metadata, key=key,
                    timeout=timeout,
                )
            )  # fmt: skip
            return AsyncPushedModel(found, self._client)
        finally:
            await self._client.unpin(added.cid, name=pin)

    async def pull(
        self,
        name: str,
        to: str | os.PathLike[str],
        *,
        timeout: Duration = 3600,
        want_trace: bool = False,
    ) -> FoundModel:
        """Write a version's files to a new directory, as `Models.pull` does."""
        try:
            call = _models.pull(name, Path(to), timeout=timeout, want_trace=want_trace)
            return await self._client._one(call)
        except NotPermitted:
            return await self._pull_copy(name, to, timeout=timeout, want_trace=want_trace)

    async def _pull_copy(
        self, name: str, to: str | os.PathLike[str], *, timeout: Duration, want_trace: bool
    ) -> FoundModel:
        known = await self.info(name, timeout=timeout)
        check_target(Path(to), known.manifest.size_bytes)
        found = await self.fetch(known.name, timeout=timeout, want_trace=want_trace)
        await self._client.fetch(found.manifest.root, to, timeout=timeout)
        return found

    async def fetch(self, name: str, *, timeout: Duration = 3600, want_trace: bool = False) -> FoundModel:
        """Get all of a version and keep it."""
        return await self._client._one(_models.fetch(name, timeout=timeout, want_trace=want_trace))

    async def verify(self, name: str, *, timeout: Duration = 3600) -> FoundModel:
        """Read all of a version and compare it with its manifest."""
        return await self._client._one(_models.verify(name, timeout=timeout))

    async def info(self, name: str, *, timeout: Duration = 60) -> FoundModel:
        """Return a version and its manifest."""
        return await self._client._one(_models.info(name, timeout=timeout))

    async def versions(self, name: str, *, timeout: Duration = 60) -> list[ModelVersion]:
        """Return the versions that are listed, ascending."""
        return await self._client._all(_models.versions(name, timeout=timeout))

    async def kept(self) -> list[KeptModel]:
        """Return the versions that the daemon keeps."""
        return await self._client._all(_models.kept())

    async def remove(self, name: str, *, timeout: Duration = 60) -> int:
        """Keep a model or one version no longer; return how many."""
        return await self._client._one(_models.remove(name, timeout=timeout))

    async def find_tensor(self, name: str, tensor: str, *, timeout: Duration = 60) -> TensorPlace:
        """Return where a tensor of a model is."""
        return await self._client._one(_models.find_tensor(name, tensor, timeout=timeout))

    async def tensor(self, name: str, tensor: str, *, timeout: Duration = 60) -> Array:
        """Return a tensor of a model as numpy's array; only its blocks are fetched."""
        place = await self.find_tensor(name, tensor, timeout=timeout)
        part: dict[str, Any] = _models.reading(place)
        async with aclosing(self._client._each(_blocks.cat(place.file, timeout=timeout, **part))) as pieces:
            return _models.array_of(place, b"".join([piece async for piece in pieces]))

    async def set_alias(self, alias: str, owner: PeerId | str) -> None:
        """Let `alias` stand for `owner` on this machine from now on."""
        await self._client._all(_models.set_alias(alias, owner))

    async def remove_alias(self, alias: str) -> bool:
        """Forget an alias; False if it was not set."""
        return await self._client._one(_models.remove_alias(alias))

    async def aliases(self) -> dict[str, PeerId]:
        """Return all aliases, each with its owner."""
        return dict(await self._client._all(_models.aliases()))
