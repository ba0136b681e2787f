"""A checkpoint's manifest: its parts, and its owner's signature. One dag-cbor block.

    type, format       "primedht-checkpoint", 1
    run, step          the run's name without its owner
    attempt            which start of the run published it
    created_at         unix seconds
    parts              [[bytes, link], ...], a safetensors file for each rank
    metadata           what else its owner says: texts by name
    owner, signature   bytes

Its links lead to all that it consists of. Made of the same parts it is the same block, whoever makes it. The
signature covers "primedht-checkpoint:" and the manifest without its signature.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from primedht import limits
from primedht.cids import Cid
from primedht.errors import InvalidArgument, InvalidManifest, InvalidRecord, MalformedKey
from primedht.ids import PeerId
from primedht.keys import PrivateKey, public_key_of
from primedht.records import dagcbor
from primedht.units import format_count, format_size

T = TypeVar("T")

_TYPE = "primedht-checkpoint"
_FORMAT = 1
_DOMAIN = b"primedht-checkpoint:"


@dataclass(frozen=True, slots=True)
class CheckpointPart:
    """One rank's file."""

    size_bytes: int
    cid: Cid


@dataclass(frozen=True, slots=True)
class CheckpointManifest:
    """See the module. Made by `signed` or `parse_checkpoint`."""

    run: str
    step: int
    attempt: int
    created_at: int
    parts: tuple[CheckpointPart, ...]
    owner: PeerId
    metadata: Mapping[str, str] = field(default_factory=dict)
    signature: bytes = b""

    def __str__(self) -> str:
        return f"{format_size(self.size_bytes)} in {format_count(len(self.parts), 'part')}"

    @property
    def files(self) -> tuple[tuple[str, CheckpointPart], ...]:
        """What its parts are called in a directory."""
        count = len(self.parts)
        if count == 1:
            return (("state.safetensors", self.parts[0]),)
        return tuple((f"state-{i}-of-{count}.safetensors", part) for i, part in enumerate(self.parts))

    @property
    def size_bytes(self) -> int:
        return sum(part.size_bytes for part in self.parts)

    def encode(self) -> bytes:
        """Return the block's bytes. Raises `InvalidArgument` for what has no such form."""
        return self._encode({"signature": self.signature})

    def signed(self, key: PrivateKey) -> CheckpointManifest:
        """Return the manifest with its owner's signature. Raises as `encode`."""
        return replace(self, signature=key.sign(_DOMAIN + self._encode({})))

    def _encode(self, more: Mapping[str, object]) -> bytes:
        fields = {
            "type": _TYPE,
            "format": _FORMAT,
            "run": self.run,
            "step": self.step,
            "attempt": self.attempt,
            "created_at": self.created_at,
            "parts": [[part.size_bytes, part.cid] for part in self.parts],
            "metadata": dict(self.metadata),
            "owner": bytes(self.owner),
        }
        return dagcbor.encode(fields | dict(more))

    def _verify(self) -> None:
        try:
            public_key = public_key_of(self.owner)
        except MalformedKey as error:
            raise InvalidManifest(f"the checkpoint's owner: {error}") from None
        if public_key is None or not public_key.verify(_DOMAIN + self._encode({}), self.signature):
            raise InvalidManifest(f"the checkpoint's signature is not that of {self.owner}")


def parse_checkpoint(data: bytes) -> CheckpointManifest:
    """Parse a manifest and check its signature. Raises `InvalidManifest`."""
    try:
        fields = dagcbor.decode_map(data)
        if fields["type"] != _TYPE or fields["format"] != _FORMAT:
            raise ValueError("it is of a type or format that is not known here")
        rows, told = fields["parts"], fields["metadata"]
        if not isinstance(rows, list) or not 0 < len(rows) <= limits.CHECKPOINT_SHARDS_MAX:
            raise ValueError("it has no parts, or too many")
        if not isinstance(told, dict) or not all(isinstance(text, str) for text in told.values()):
            raise ValueError("its metadata is no texts")
        manifest = CheckpointManifest(
            run=_is(str, fields["run"]),
            step=_natural(fields["step"]),
            attempt=_natural(fields["attempt"]),
            created_at=_natural(fields["created_at"]),
            parts=tuple(map(_part, rows)),
            owner=PeerId(_is(bytes, fields["owner"])),
            metadata=told,
            signature=_is(bytes, fields["signature"]),
        )
        if manifest.encode() != data:
            raise ValueError("it is not in its one form")
    except (InvalidRecord, InvalidArgument, KeyError, ValueError) as error:
        raise InvalidManifest(f"not the manifest of a checkpoint: {error}") from None
    manifest._verify()
    return manifest


def _part(row: object) -> CheckpointPart:
    size, link = _is(list, row)
    return CheckpointPart(_natural(size), Cid.from_bytes(_is(bytes, link)[1:]))


def _natural(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("something else where a number should be")
    return value


def _is(kind: type[T], value: object) -> T:
    if not isinstance(value, kind):
        raise ValueError(f"something else where {kind.__name__} should be")
    return value
