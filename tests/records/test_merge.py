"""Lifetimes, and what a holder does with a record that arrives."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from primedht import limits
from primedht.errors import StoreCorrupt
from primedht.kad.messages import Record
from primedht.keys import PrivateKey
from primedht.records import rfc3339
from primedht.records.ipns import make_ipns_record
from primedht.records.keys import ipns_key, pk_key, prime_key
from primedht.records.lifetimes import expires_unix_s, from_writer, republish_interval_s, ttl_left_s
from primedht.records.merge import Decision, Floor, Held, floor_of, merge
from primedht.records.open import UNKNOWN_WRITER_UNIX_MS
from primedht.records.record import Content, ValidRecord, compare
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


def validate(record: Record, now_unix_s: float = NOW_S, *, copied: bool = True) -> ValidRecord:
    return VALIDATOR.validate(record, now_unix_s=now_unix_s, copied=copied)


def open_record(value: bytes, writer_unix_ms: int = NOW_MS, *, tombstone: bool = False) -> ValidRecord:
    return validate(Record(KEY, value, writer_unix_ms=writer_unix_ms, tombstone=tombstone))


def prime_record(
    sequence: int, value: bytes = b"v", *, life_s: float = 3600.0, content: Content = Content.VALUE
) -> ValidRecord:
    expires_unix_ms = NOW_MS + int(life_s * 1000)
    envelope = Envelope(content, NETWORK, sequence, NOW_MS, expires_unix_ms, value)
    return validate(Record(PRIME_KEY, sign_envelope(OWNER, PRIME_KEY, envelope)))


def arrive(
    held: Held | None,
    record: ValidRecord,
    *,
    life_s: float = TTL_S,
    renews: bool = True,
    floor: Floor | None = None,
) -> Decision:
    arrived = Held(record, NOW_S + life_s)
    return merge(held, arrived, renews=renews, now_unix_s=NOW_S, ttl_s=TTL_S, floor=floor)


# --- lifetimes ---------------------------------------------------------------------------------------


def test_only_the_writers_own_put_renews() -> None:
    assert from_writer(copy_ttl_s=0, publisher=b"", sender=b"go peer")
    assert from_writer(copy_ttl_s=0, publisher=b"other", sender=b"go peer")
    assert from_writer(copy_ttl_s=60, publisher=b"rust peer", sender=b"rust peer")
    assert not from_writer(copy_ttl_s=60, publisher=b"rust peer", sender=b"its replica")
    assert not from_writer(copy_ttl_s=60, publisher=b"", sender=b"someone")


@pytest.mark.parametrize(("copy_ttl_s", "life_s"), [(0, TTL_S), (60, 60.0), (2**32 - 1, TTL_S)])
def test_a_receiver_takes_the_shorter_of_its_own_ttl_and_the_copys(copy_ttl_s, life_s) -> None:
    expires = expires_unix_s(open_record(b"v"), received_unix_s=NOW_S, ttl_s=TTL_S, copy_ttl_s=copy_ttl_s)
    assert expires == NOW_S + life_s


@pytest.mark.parametrize(
    ("copy_ttl_s", "age_s", "life_s"),
    [(600, 100, 500.0), (600, 700, 0.0), (600, -100, 600.0), (0, 3600, TTL_S), (0, 47 * 3600, 3600.0),
     (0, 49 * 3600, 0.0)],
)  # fmt: skip
def test_a_reply_is_as_old_as_its_holder_says(copy_ttl_s, age_s, life_s) -> None:
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
    assert republish_interval_s(30 * 86_400.0) == pytest.approx(0.45 * 48 * 3600)


# --- merging -----------------------------------------------------------------------------------------


def test_a_first_record_is_stored() -> None:
    decision = arrive(None, open_record(b"v"))
    assert (decision.outcome, decision.expires_unix_s) == ("store", NOW_S + TTL_S)


def test_a_better_record_replaces_and_a_worse_one_is_refused() -> None:
    """Behaviours 2, 24 and 25: of two writes the better one stays, in whichever order they come."""
    better, worse = open_record(b"new"), open_record(b"old", NOW_MS - 1)
    assert arrive(Held(worse, NOW_S + 60), better, life_s=10.0) == replace(
        arrive(None, better, life_s=10.0), outcome="store"
    )
    assert arrive(Held(better, NOW_S + 60), worse).outcome == "stale"
    assert arrive(Held(prime_record(2), NOW_S + 60), prime_record(1)).outcome == "stale"
    assert arrive(Held(prime_record(1), NOW_S + 60), prime_record(2)).outcome == "store"


def test_an_equal_reput_refreshes_the_expiry_and_a_copy_does_not() -> None:
    """Extra: an equal re-put refreshes; a replica never lengthens a life."""
    record = open_record(b"v")
    held = Held(record, NOW_S + 60)
    refreshed = arrive(held, record)
    assert (refreshed.outcome, refreshed.expires_unix_s) == ("refresh", NOW_S + TTL_S)
    copy = arrive(held, record, renews=False)
    assert (copy.outcome, copy.expires_unix_s) == ("unchanged", NOW_S + 60)
    shorter = arrive(held, record, life_s=10.0)
    assert (shorter.outcome, shorter.expires_unix_s) == ("unchanged", NOW_S + 60)


def test_a_public_key_put_again_lives_on() -> None:
    record = validate(Record(pk_key(OWNER.peer_id), OWNER.public_key.serialized))
    assert arrive(Held(record, NOW_S + 60), record).outcome == "refresh"
    assert arrive(Held(record, NOW_S + 60), record, renews=False).outcome == "unchanged"


def test_the_same_value_with_an_older_writer_time_is_acknowledged() -> None:
    """A rust replica drops the writer time: refusing its copy of what is held would help nobody."""
    held = Held(open_record(b"v"), NOW_S + 60)
    lost = validate(Record(KEY, b"v"))
    assert arrive(held, lost, renews=False).outcome == "unchanged"
    assert arrive(held, open_record(b"v", NOW_MS - 5), renews=True).outcome == "refresh"
    assert arrive(held, validate(Record(KEY, b"w")), renews=False).outcome == "stale"
    deleted = Held(open_record(b"", tombstone=True), NOW_S + 60)
    assert arrive(deleted, validate(Record(KEY, b"")), renews=False).outcome == "stale"


def test_tombstones_bury_older_values_and_newer_values_revive_a_key() -> None:
    tombstone = open_record(b"", tombstone=True)
    assert arrive(Held(open_record(b"v", NOW_MS - 1), NOW_S + 60), tombstone).outcome == "store"
    assert arrive(Held(tombstone, NOW_S + 60), open_record(b"v", NOW_MS - 1)).outcome == "stale"
    assert arrive(Held(tombstone, NOW_S + 60), open_record(b"v", NOW_MS + 1)).outcome == "store"
    signed = prime_record(5, b"", content=Content.TOMBSTONE)
    assert arrive(Held(prime_record(4), NOW_S + 60), signed).outcome == "store"
    assert arrive(Held(signed, NOW_S + 60), prime_record(4)).outcome == "stale"
    assert arrive(Held(signed, NOW_S + 60), prime_record(6)).outcome == "store"


def test_what_has_ended_is_refused_and_replaced() -> None:
    old, new = open_record(b"old", NOW_MS - 1), open_record(b"new")
    assert arrive(None, new, life_s=0.0).outcome == "stale"
    assert arrive(Held(new, NOW_S), old).outcome == "store"


def test_a_floor_outlives_its_record() -> None:
    """Nothing can be rolled back by waiting until the newer record has expired or was evicted."""
    for old, new in (
        (open_record(b"old", NOW_MS - 1), open_record(b"new")),
        (prime_record(1), prime_record(2, life_s=60.0)),
    ):
        floor = arrive(None, new, life_s=60.0).floor
        assert floor is not None
        for gone in (None, Held(new, NOW_S)):
            assert arrive(gone, old, floor=floor).outcome == "stale"
            assert arrive(gone, new, floor=floor).outcome == "store"
            assert arrive(gone, old, floor=replace(floor, until_unix_s=NOW_S)).outcome == "store"


def test_a_floor_holds_as_long_as_a_lower_record_could_live() -> None:
    prime = floor_of(prime_record(1), NOW_S, TTL_S)
    assert prime is not None
    assert prime.until_unix_s == NOW_S + 120 + 30 * 86_400
    other = floor_of(open_record(b"v"), NOW_S, TTL_S)
    assert other is not None
    assert other.until_unix_s == NOW_S + TTL_S
    public_key = validate(Record(pk_key(OWNER.peer_id), OWNER.public_key.serialized))
    assert floor_of(public_key, NOW_S, TTL_S) is None


def test_floors_are_stored_and_read() -> None:
    for record in (open_record(b"", tombstone=True), prime_record(limits.SEQUENCE_MAX)):
        floor = floor_of(record, NOW_S, TTL_S)
        assert floor is not None
        assert Floor.unpack(floor.pack()) == floor
    for packed in (b"", bytes(55), bytes(57)):
        with pytest.raises(StoreCorrupt):
            Floor.unpack(packed)


def test_equivocation_is_reported_whichever_record_wins() -> None:
    a, b = prime_record(3, b"a"), prime_record(3, b"b")
    better, worse = (a, b) if compare(a, b) > 0 else (b, a)
    for held, arrived, outcome in ((worse, better, "store"), (better, worse, "stale")):
        decision = arrive(Held(held, NOW_S + 60), arrived)
        assert decision.outcome == outcome
        assert decision.equivocation is not None
        assert set(decision.equivocation.values) == {a.value, b.value}
    assert arrive(Held(a, NOW_S + 60), a).equivocation is None


# --- networks of holders ------------------------------------------------------------------------------

TINY_TTL_S = 1000.0
WRITES = st.tuples(st.floats(0, 500), st.booleans(), st.integers(0, 2000))  # wait, delete, ttl


@dataclass
class Holder:
    """A holder that keeps records by `merge`, as a value store does, and copies them to others."""

    held: Held | None = None
    floor: Floor | None = None
    seen: list[Held] = field(default_factory=list)

    def put(self, record: Record, now_unix_s: float, *, copied: bool) -> None:
        valid = validate(record, now_unix_s, copied=copied)
        expires = expires_unix_s(valid, received_unix_s=now_unix_s, ttl_s=TINY_TTL_S, copy_ttl_s=record.ttl_s)
        arrived = Held(valid, expires)
        decision = merge(
            self.held, arrived, renews=not copied, now_unix_s=now_unix_s, ttl_s=TINY_TTL_S, floor=self.floor
        )
        if decision.outcome == "stale":
            return
        kept = valid if decision.outcome == "store" or self.held is None else self.held.record
        self.held = Held(kept, decision.expires_unix_s)
        self.floor = decision.floor or self.floor
        self.seen.append(self.held)

    def copy(self, now_unix_s: float) -> Record | None:
        if self.held is None or self.held.expires_unix_s <= now_unix_s:
            return None
        left_s = ttl_left_s(self.held.expires_unix_s, now_unix_s)
        if left_s == 0:
            return None
        valid = self.held.record
        return Record(
            KEY,
            valid.value,
            ttl_s=left_s,
            writer_unix_ms=valid.writer_unix_ms or 0,
            tombstone=valid.content is Content.TOMBSTONE,
        )


@settings(max_examples=200)
@given(
    seed=st.integers(0, 2**32),
    writes=st.lists(WRITES, min_size=1, max_size=4),
    rounds=st.integers(3, 8),
)
def test_rounds_of_replication_lengthen_no_life_and_bring_nothing_back(seed, writes, rounds) -> None:
    """Any order, any delays under a second, peers that lose the writer time, short lives and deletions.

    No holder has a write longer than its first holders could. Once a holder has had a write with
    its writer time it never again holds an older one, though that may have lost its own.
    """
    rng = random.Random(seed)
    holders = [Holder() for _ in range(5)]
    now = NOW_S
    ends: dict[bytes, float] = {}
    written_ms: dict[bytes, int] = {}
    for number, (wait_s, deletes, life_s) in enumerate(writes):
        now += wait_s
        value = b"" if deletes else b"value %d" % number
        written_ms[value] = int(now * 1000) + number
        record = Record(KEY, value, ttl_s=life_s, writer_unix_ms=written_ms[value], tombstone=deletes)
        for holder in rng.sample(holders, 2):
            holder.put(record, now, copied=False)
        end = now + (min(life_s, TINY_TTL_S) if life_s else TINY_TTL_S)
        ends[value] = max(end, ends.get(value, 0.0))
        for _ in range(rounds):
            now += rng.uniform(0, 120)
            for holder in rng.sample(holders, len(holders)):
                copied = holder.copy(now)
                if copied is not None and rng.random() < 0.1:
                    copied = replace(copied, writer_unix_ms=0, tombstone=False)
                for other in rng.sample(holders, 2):
                    if copied is not None:
                        other.put(copied, now + rng.uniform(0, 0.99), copied=True)
    for holder in holders:
        for kept in holder.seen:
            assert kept.expires_unix_s <= ends[kept.record.value] + 1e-6
        for earlier, later in combinations([kept.record for kept in holder.seen], 2):
            if earlier.writer_unix_ms != UNKNOWN_WRITER_UNIX_MS and later.value:
                assert written_ms[later.value] >= (earlier.writer_unix_ms or 0)


@given(seed=st.integers(0, 2**32), count=st.integers(2, 5))
def test_the_order_of_arrival_does_not_matter(seed: int, count: int) -> None:
    rng = random.Random(seed)
    records = [
        Record(
            KEY,
            b"" if tombstone else b"v%d" % number,
            writer_unix_ms=NOW_MS + rng.randrange(2),
            tombstone=tombstone,
        )
        for number in range(count)
        for tombstone in (rng.random() < 0.3,)
    ]
    final = set()
    for _ in range(4):
        rng.shuffle(records)
        holder = Holder()
        for record in records:
            holder.put(record, NOW_S, copied=False)
        assert holder.held is not None
        final.add(holder.held.record.rank)
    assert len(final) == 1
