"""How long records live on their holders and on copies. What a holder does with them is tested with the
engine (tests/dht/test_receiving.py)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primedht import limits
from primedht.kad.messages import Record
from primedht.keys import PrivateKey
from primedht.records import rfc3339
from primedht.records.ipns import make_ipns_record
from primedht.records.keys import ipns_key, pk_key, prime_key
from primedht.records.lifetimes import expires_unix_s, from_writer, republish_interval_s, ttl_left_s
from primedht.records.record import Content, ValidRecord, compare, find_equivocation
from primedht.records.signed import Envelope, sign_envelope
from primedht.records.validator import RecordValidator

KEY = b"model_weights_v1"
OWNER = PrivateKey(b"\x01" * 32)
PRIME_KEY = prime_key("model", OWNER.peer_id, "m")
NETWORK = "/lab/kad/1.0.0"
NOW_S = 1_700_000_000.0
NOW_MS = int(NOW_S * 1000)
TTL_S = 86_400.0
VALIDATOR = RecordValidator(network_id=NETWORK, network_kind="private", ipfs_keys_only=False)


def validate(record: Record) -> ValidRecord:
    return VALIDATOR.validate(record, now_unix_s=NOW_S, copied=True)


def open_record(value: bytes) -> ValidRecord:
    return validate(Record(KEY, value, writer_unix_ms=NOW_MS))


def prime_record(sequence: int, value: bytes = b"v", *, life_s: float = 3600.0) -> ValidRecord:
    envelope = Envelope(Content.VALUE, NETWORK, sequence, NOW_MS, NOW_MS + int(life_s * 1000), value)
    return validate(Record(PRIME_KEY, sign_envelope(OWNER, PRIME_KEY, envelope)))


def test_only_the_writers_own_put_renews() -> None:
    assert from_writer(copy_ttl_s=0, publisher=b"", sender=b"go peer")
    assert from_writer(copy_ttl_s=0, publisher=b"other", sender=b"go peer")
    assert from_writer(copy_ttl_s=60, publisher=b"rust peer", sender=b"rust peer")
    assert not from_writer(copy_ttl_s=60, publisher=b"rust peer", sender=b"its replica")
    assert not from_writer(copy_ttl_s=60, publisher=b"", sender=b"someone")


@pytest.mark.parametrize(("copy_ttl_s", "life_s"), [(0, TTL_S), (60, 60.0), (2**32 - 1, TTL_S)])
def test_a_receiver_takes_the_shorter_of_its_own_ttl_and_the_copys(copy_ttl_s: int, life_s: float) -> None:
    expires = expires_unix_s(open_record(b"v"), received_unix_s=NOW_S, ttl_s=TTL_S, copy_ttl_s=copy_ttl_s)
    assert expires == NOW_S + life_s


@pytest.mark.parametrize(
    ("copy_ttl_s", "age_s", "life_s"),
    [(600, 100, 500.0), (600, 700, 0.0), (600, -100, 600.0), (0, 3600, TTL_S), (0, 47 * 3600, 3600.0),
     (0, 49 * 3600, 0.0)],
)  # fmt: skip
def test_a_reply_is_as_old_as_its_holder_says(copy_ttl_s: int, age_s: int, life_s: float) -> None:
    """go keeps field 777 as it was put and serves it unchanged, and drops a record after 48 h."""
    stamped_at = rfc3339.format_unix_ns(int((NOW_S - age_s) * 1e9))
    expires = expires_unix_s(
        open_record(b"v"), received_unix_s=NOW_S, ttl_s=TTL_S, copy_ttl_s=copy_ttl_s, stamped_at=stamped_at
    )
    assert expires == pytest.approx(NOW_S + life_s)


def test_prime_records_live_to_their_signed_end_and_ipns_records_no_longer() -> None:
    prime = prime_record(1, life_s=20 * 86_400.0)
    for copy_ttl_s in (0, 1):
        end = expires_unix_s(prime, received_unix_s=NOW_S, ttl_s=60.0, copy_ttl_s=copy_ttl_s)
        assert end == NOW_S + 20 * 86_400.0
    value = make_ipns_record(
        OWNER, b"/ipfs/x", sequence=1, validity_unix_ns=(NOW_MS + 90_000) * 10**6, ttl_ns=0
    )
    ipns = validate(Record(ipns_key(OWNER.peer_id), value))
    assert expires_unix_s(ipns, received_unix_s=NOW_S, ttl_s=TTL_S, copy_ttl_s=0) == NOW_S + 90.0
    assert expires_unix_s(ipns, received_unix_s=NOW_S, ttl_s=60.0, copy_ttl_s=0) == NOW_S + 60.0


@given(st.floats(-1e6, 1e6), st.floats(0, 2e9))
def test_a_copy_is_never_sent_a_longer_life_nor_none(left_s: float, now_unix_s: float) -> None:
    """0 would be read as absent, and start a new life."""
    sent_s = ttl_left_s(now_unix_s + left_s, now_unix_s)
    assert 0 <= sent_s <= max(0.0, left_s)
    assert left_s < 2.1 or sent_s > 0


def test_what_cannot_be_said_in_32_bits_is_capped() -> None:
    assert ttl_left_s(1e12, 0.0) == 2**32 - 1


def test_republishing_fails_once_without_loss() -> None:
    assert republish_interval_s(1000.0) == 450.0
    assert republish_interval_s(30 * 86_400.0) == pytest.approx(0.45 * limits.RECORD_AGE_S_MAX)


def test_equivocation_is_proved_by_two_records_of_one_sequence() -> None:
    """Whichever of them wins, and of nothing else."""
    a, b = prime_record(3, b"a"), prime_record(3, b"b")
    assert compare(a, b) != 0
    for first, second in ((a, b), (b, a)):
        evidence = find_equivocation(first, second)
        assert evidence is not None
        assert (evidence.key, evidence.sequence) == (PRIME_KEY, 3)
        assert set(evidence.values) == {a.value, b.value}
    assert find_equivocation(a, a) is None
    assert find_equivocation(a, prime_record(4, b"b")) is None
    assert find_equivocation(open_record(b"v"), open_record(b"w")) is None
    public_key = validate(Record(pk_key(OWNER.peer_id), OWNER.public_key.serialized))
    assert find_equivocation(public_key, public_key) is None
