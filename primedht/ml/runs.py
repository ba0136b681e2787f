"""Runs, their steps, and the records that say what is there. dag-cbor, each within one inline record.

/prime/ckpt/<owner>/<run>                                   the steps that readers see
    {"steps": [[step, link to the manifest, unix s, bytes, pinned], ...]}   ascending
/prime/ckpt/<owner>/<run>/<step>/<attempt>/<i>-of-<n>       one rank's part of a step to be
    {"file": link, "bytes": of the file, "time": unix s, "metadata": texts by name}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from primedht import limits
from primedht.cids import Cid
from primedht.errors import InvalidArgument, InvalidManifest, InvalidRecord, StaleRecord, ValueNotFound
from primedht.ids import PeerId
from primedht.ml.names import is_word, parse_owner
from primedht.records import dagcbor
from primedht.records.keys import prime_key

_KIND = "ckpt"
_ME = "me"

Shard = tuple[int, int]
"""Which part of how many: (0, 4) to (3, 4)."""


@dataclass(frozen=True, slots=True)
class RunName:
    """A training run under its owner's key."""

    owner: PeerId
    run: str

    @property
    def key(self) -> bytes:
        """The key of the record that lists the steps. Raises `InvalidKey` for an owner who cannot sign."""
        return prime_key(_KIND, self.owner, self.run)

    def part_key(self, step: int, attempt: int, shard: tuple[int, int]) -> bytes:
        """Return the key of the record of one rank's part."""
        return prime_key(_KIND, self.owner, f"{self.run}/{step}/{attempt}/{shard[0]}-of-{shard[1]}")

    def __str__(self) -> str:
        return f"{self.owner}/{self.run}"


def parse_run(text: str, me: PeerId, aliases: Mapping[str, PeerId]) -> RunName:
    """Return the run that `text`, OWNER/RUN or RUN of one's own, is. Raises as `parse_name` of models."""
    owner, slash, run = text.rpartition("/")
    if not is_word(run) or (slash and not owner):
        raise InvalidArgument(
            f"{text[:200]!r} is no run's name; write RUN or OWNER/RUN, as in me/run42, RUN of at most "
            f"{limits.MODEL_NAME_CHARS_MAX} letters, digits, dots, dashes and underscores"
        )
    return RunName(parse_owner(owner or _ME, me, aliases), run)


@dataclass(frozen=True, slots=True)
class Step:
    """cid: of its manifest. size_bytes: of its files. pinned: not retired as steps follow."""

    step: int
    cid: Cid
    published_unix_s: int
    size_bytes: int
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class Steps:
    """listed: ascending."""

    listed: tuple[Step, ...] = ()

    def find(self, step: int | None) -> Step | None:
        """Return a step, None being the latest, if it is listed."""
        return next((each for each in reversed(self.listed) if step in (None, each.step)), None)

    def pick(self, step: int | None) -> Step:
        """Return a step, None being the latest. Raises `ValueNotFound`."""
        found = self.find(step)
        if found is None:
            known = ", ".join(str(each.step) for each in self.listed) or "none"
            raise ValueNotFound(f"there is no checkpoint of step {step}; there are those of {known}")
        return found

    def with_step(self, added: Step, *, keep: int) -> Steps:
        """Return the list with `added`, in the place of one of that number: the `keep` last and the pinned.

        Raises `StaleRecord` if that would leave `added` itself out, `InvalidArgument` for too many pinned.
        """
        before = self.find(added.step)
        added = replace(added, pinned=added.pinned or (before is not None and before.pinned))
        others = [each for each in self.listed if each.step != added.step]
        all_steps = sorted([*others, added], key=lambda each: each.step)
        last = all_steps[-keep:]
        kept = tuple(each for each in all_steps if each.pinned or each in last)
        if added not in kept:
            raise StaleRecord(
                f"step {added.step} is before the {keep} last checkpoints; to go back to it, remove those "
                "after it first, or pin it"
            )
        if len(kept) > limits.CHECKPOINT_STEPS_MAX:
            raise InvalidArgument(
                f"a run has at most {limits.CHECKPOINT_STEPS_MAX} checkpoints; unpin or remove some"
            )
        return Steps(kept)

    def with_pinned(self, step: int, pinned: bool) -> Steps:
        """Return the list with a step pinned, or no longer so."""
        return Steps(
            tuple(replace(each, pinned=pinned) if each.step == step else each for each in self.listed)
        )

    def without(self, step: int | None) -> Steps:
        """Return the list without a step; None: without all."""
        return Steps(tuple(each for each in self.listed if step not in (None, each.step)))

    def encode(self) -> bytes:
        """Return the record's value."""
        rows = [
            [each.step, each.cid, each.published_unix_s, each.size_bytes, each.pinned] for each in self.listed
        ]
        return dagcbor.encode({"steps": rows})


@dataclass(frozen=True, slots=True)
class Part:
    """One rank's part of a step. metadata: what the checkpoint's owner says about it."""

    file: Cid
    size_bytes: int
    published_unix_s: int
    metadata: Mapping[str, str] = field(default_factory=dict)

    def encode(self) -> bytes:
        """Return the record's value. Raises `InvalidArgument`."""
        told = dict(self.metadata)
        if len(dagcbor.encode(told)) > limits.CHECKPOINT_METADATA_BYTES_MAX:
            raise InvalidArgument(
                f"the metadata takes over {limits.CHECKPOINT_METADATA_BYTES_MAX} bytes; put it in the state"
            )
        fields = {"file": self.file, "bytes": self.size_bytes, "time": self.published_unix_s}
        return dagcbor.encode({**fields, "metadata": told})


def parse_steps(data: bytes) -> Steps:
    """Parse a run's record. Raises `InvalidManifest`."""
    try:
        rows = dagcbor.decode_map(data)["steps"]
        if not isinstance(rows, list) or not 0 < len(rows) <= limits.CHECKPOINT_STEPS_MAX:
            raise ValueError("no list of steps, or too long")
        steps = Steps(tuple(map(_step, rows)))
    except (InvalidRecord, InvalidArgument, LookupError, TypeError, ValueError) as error:
        raise InvalidManifest(f"the record lists no checkpoints: {error}") from None
    numbers = [each.step for each in steps.listed]
    if numbers != sorted(set(numbers)) or steps.encode() != data:
        raise InvalidManifest("the record lists checkpoints in another form than its one")
    return steps


def parse_part(data: bytes) -> Part:
    """Parse a part's record. Raises `InvalidManifest`."""
    try:
        fields = dagcbor.decode_map(data)
        told = fields["metadata"]
        if not isinstance(told, dict) or not all(isinstance(text, str) for text in told.values()):
            raise TypeError("metadata that is no texts")
        part = Part(_cid(fields["file"]), _number(fields["bytes"]), _number(fields["time"]), told)
        if part.encode() != data:
            raise ValueError("it is not in its one form")
    except (InvalidRecord, InvalidArgument, LookupError, TypeError, ValueError) as error:
        raise InvalidManifest(f"the record is of no checkpoint's part: {error}") from None
    return part


def _step(row: object) -> Step:
    if not isinstance(row, list):
        raise TypeError("a step that is none")
    step, link, published, size, pinned = row
    if not isinstance(pinned, bool):
        raise TypeError("something else where yes or no should be")
    return Step(_number(step), _cid(link), _number(published), _number(size), pinned)


def _cid(link: object) -> Cid:
    if not isinstance(link, bytes):
        raise TypeError("something else where a link should be")
    return Cid.from_bytes(link[1:])  # behind the multibase prefix of binary


def _number(value: object) -> int:
    if type(value) is not int or value < 0:
        raise TypeError("something else where a number should be")
    return value


def checked_shard(step: int, shard: Shard | None, keep: int, attempt: int) -> Shard:
    """Return which part it is; None is the only one. Raises `InvalidArgument`, also for the other numbers."""
    index, count = (0, 1) if shard is None else shard
    for name, value, least, most in (
        ("step", step, 0, limits.CHECKPOINT_STEP_MAX),
        ("attempt", attempt, 0, limits.CHECKPOINT_STEP_MAX),
        ("keep", keep, 1, limits.CHECKPOINT_STEPS_MAX),
        ("shard", count, 1, limits.CHECKPOINT_SHARDS_MAX),
        ("shard", index, 0, count - 1),
    ):
        if type(value) is not int or not least <= value <= most:
            raise InvalidArgument(f"{name} is {value!r}; it must be a number from {least} to {most}")
    return index, count
