"""All rules of one network's records behind one door."""

from __future__ import annotations

from primedht import limits
from primedht.errors import ValueTooLarge
from primedht.records.ipns import IpnsValidator
from primedht.records.keys import KeyClass, NetworkKind, classify
from primedht.records.open import OpenValidator
from primedht.records.pk import PkValidator
from primedht.records.record import RecordLike, Validator, ValidRecord
from primedht.records.signatures import SignatureCache
from primedht.records.signed import SignedValidator


class RecordValidator:
    """Which keys a network takes, and which records are good under them."""

    def __init__(
        self,
        *,
        network_id: str,
        network_kind: NetworkKind,
        ipfs_keys_only: bool,
        value_bytes_max: int = limits.VALUE_BYTES_MAX,
    ) -> None:
        """network_id: what envelopes must be signed for. value_bytes_max: of a payload."""
        self._network_kind = network_kind
        self._ipfs_keys_only = ipfs_keys_only
        self._value_bytes_max = value_bytes_max
        signatures = SignatureCache()
        self._validators: dict[KeyClass, Validator] = {
            KeyClass.PK: PkValidator(),
            KeyClass.IPNS: IpnsValidator(signatures),
            KeyClass.PRIME: SignedValidator(network_id, signatures, value_bytes_max=value_bytes_max),
            KeyClass.OPEN: OpenValidator(network_id, signatures),
        }

    def classify(self, key: bytes) -> KeyClass:
        """Return the class of `key`. Raises `InvalidKey` for one that this network does not take."""
        return classify(key, network_kind=self._network_kind, ipfs_keys_only=self._ipfs_keys_only)

    def validate(self, record: RecordLike, *, now_unix_s: float, copied: bool) -> ValidRecord:
        """Return what `record` establishes at `now_unix_s`.

        copied: it did not come from its writer: a replica, a reply, one held in a store.
        Raises `InvalidKey`, `InvalidRecord` or `ValueTooLarge`.
        """
        key_class = self.classify(record.key)
        overhead_bytes = limits.SIGNED_OVERHEAD_BYTES_MAX if key_class is KeyClass.PRIME else 0
        if len(record.value) > self._value_bytes_max + overhead_bytes:
            raise ValueTooLarge(
                f"a value of {len(record.value)} bytes; one record holds {self._value_bytes_max}"
            )
        return self._validators[key_class].validate(record, now_unix_s=now_unix_s, copied=copied)
