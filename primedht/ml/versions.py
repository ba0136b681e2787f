"""The record of a model's name: its versions, each with its manifest. dag-cbor, within one inline record.

{"created": unix s, "versions": [[version, link to the manifest, unix s, bytes], ...]}   ascending
"""

from __future__ import annotations

from dataclasses import dataclass

from primedht import limits
from primedht.cids import Cid
from primedht.errors import InvalidArgument, InvalidManifest, InvalidRecord, StaleRecord, ValueNotFound
from primedht.records import dagcbor


@dataclass(frozen=True, slots=True)
class Version:
    """cid: of its manifest. size_bytes: of its files."""

    version: int
    cid: Cid
    published_unix_s: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Versions:
    """created_unix_s: when the name got its first version. listed: ascending."""

    created_unix_s: int
    listed: tuple[Version, ...] = ()

    @property
    def latest(self) -> int:
        return self.listed[-1].version if self.listed else 0

    def pick(self, version: int | None) -> Version:
        """Return a version, None being the latest. Raises `ValueNotFound`."""
        for each in reversed(self.listed):
            if version in (None, each.version):
                return each
        known = ", ".join(str(each.version) for each in self.listed)
        raise ValueNotFound(f"there is no version {version}; listed are {known or 'none'}")

    def with_version(self, added: Version) -> Versions:
        """Return the list with a newer version, without the oldest if it is full. Raises `StaleRecord`."""
        if added.version <= self.latest:
            raise StaleRecord(
                f"version {added.version} is not above the latest, {self.latest}; "
                "leave the number out, or raise it"
            )
        return Versions(self.created_unix_s, (*self.listed, added)[-limits.MODEL_VERSIONS_MAX :])

    def without(self, version: int) -> Versions:
        """Return the list without a version."""
        return Versions(self.created_unix_s, tuple(each for each in self.listed if each.version != version))

    def encode(self) -> bytes:
        """Return the record's value."""
        rows = [[each.version, each.cid, each.published_unix_s, each.size_bytes] for each in self.listed]
        return dagcbor.encode({"created": self.created_unix_s, "versions": rows})


def parse_versions(data: bytes) -> Versions:
    """Parse a record's value. Raises `InvalidManifest`."""
    try:
        fields = dagcbor.decode_map(data)
        rows = fields["versions"]
        if not isinstance(rows, list) or len(rows) > limits.MODEL_VERSIONS_MAX:
            raise ValueError("no list of versions, or too long")
        versions = Versions(_number(fields["created"]), tuple(_version(row) for row in rows))
    except (InvalidRecord, InvalidArgument, LookupError, TypeError, ValueError) as error:
        raise InvalidManifest(f"the record lists no versions of a model: {error}") from None
    numbers = [each.version for each in versions.listed]
    if not numbers or numbers != sorted(set(numbers)) or versions.encode() != data:
        raise InvalidManifest("the record lists versions of a model in another form than its one")
    return versions


def _version(row: object) -> Version:
    if not isinstance(row, list) or not isinstance(row[1], bytes):
        raise TypeError("a version that is none")
    version, link, published, size = row
    return Version(_number(version), Cid.from_bytes(link[1:]), _number(published), _number(size))


def _number(value: object) -> int:
    if type(value) is not int or value < 0:
        raise TypeError("something else where a number should be")
    return value
