"""The routing table: k-buckets by common prefix length (`cpl`) with our own key.

Bucket `i` holds peers of cpl `i`; the last bucket holds every cpl from its index on, and only it
splits, when it is full. So the table knows much of its own neighbourhood and a little of everything
else, in at most one bucket per doubling of the network.

The table does no I/O: `update` says what happened. When a bucket is full it names the member least
recently seen; the owner pings that one and calls `update` (it answered) or `remove` (it did not),
which promotes the newest replacement.

Source: Maymounkov and Mazieres, "Kademlia" (2002), 2.2, 2.4 and 4.1; go-libp2p-kbucket, table.go.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from math import log

from primedht.ids import PeerId
from primedht.kad.bucket import Bucket, Member
from primedht.kad.diversity import IpDiversity
from primedht.kad.key import KEY_BITS, Key, common_prefix_length, key_of

KeyOf = Callable[[bytes], Key]


class Refusal(Enum):
    """Why a peer may not enter the table."""

    SELF = "self"
    IP_DIVERSITY = "ip_diversity"


@dataclass(frozen=True, slots=True)
class Added:
    """The peer is a new member."""


@dataclass(frozen=True, slots=True)
class Refreshed:
    """The peer was a member already; its times are up to date."""


@dataclass(frozen=True, slots=True)
class Full:
    """The peer waits in the replacement cache of its bucket.

    oldest: the member least recently seen, at `oldest_seen` (monotonic seconds). Ping it, unless that
    is recent, and report by `update` or `remove`.
    """

    oldest: PeerId
    oldest_seen: float


@dataclass(frozen=True, slots=True)
class Refused:
    """The peer may not enter."""

    reason: Refusal


Outcome = Added | Refreshed | Full | Refused
_ADDED, _REFRESHED = Added(), Refreshed()


def usefulness_grace_s(*, bucket_size: int, concurrency: int, refresh_interval_s: float) -> float:
    """Return how long a live member may well go without answering a request of ours.

    Each refresh asks `concurrency` of a bucket's peers; after this long all but one in `bucket_size`
    have been asked at least once. 43 minutes for 20, 10 and 600 s. Source: go-libp2p-kad-dht, dht.go.
    """
    if concurrency >= bucket_size:
        return refresh_interval_s
    return log(1 / bucket_size) / log(1 - concurrency / bucket_size) * refresh_interval_s


class RoutingTable:
    """Peers that serve our protocol and have answered us. One task at a time may change it.

    Args:
        self_id: our own peer id.
        bucket_size: k, the most members of a bucket.
        diversity: the IP diversity limits, or None for none (private networks).
        key_of: maps a preimage to its `bits`-bit keyspace point, injectively; tests use tiny spaces.
    """

    def __init__(
        self,
        self_id: bytes,
        *,
        bucket_size: int,
        diversity: IpDiversity | None = None,
        key_of: KeyOf = key_of,
        bits: int = KEY_BITS,
    ) -> None:
        self.self_key = key_of(self_id)
        self.bucket_size = bucket_size
        self._diversity = diversity
        self._key_of = key_of
        self._bits = bits
        self._buckets = [Bucket(bucket_size)]
        self._nearest: dict[int, tuple[PeerId, ...]] = {}  # by how many, until the members change
        self._len = 0

    def __len__(self) -> int:
        return self._len

    def __contains__(self, peer: PeerId) -> bool:
        return self.member(peer) is not None

    def __iter__(self) -> Iterator[PeerId]:
        """Iterate over a snapshot of the members, farthest bucket first."""
        return iter(self.peers())

    def peers(self) -> list[PeerId]:
        """Return all members, farthest bucket first, least recently seen first within a bucket."""
        return [member.peer for member in self._members()]

    def members(self) -> list[Member]:
        """Return what is known of each member, in the order of `peers`."""
        return list(self._members())

    def member(self, peer: PeerId) -> Member | None:
        """Return what is known of `peer`, or None if it is not a member."""
        key = self._key_of(peer)
        cpl = self._bits - (key ^ self.self_key).bit_length()
        buckets = self._buckets
        return buckets[cpl if cpl < len(buckets) else -1].members.get(key)

    def bucket_sizes(self) -> list[int]:
        """Return the number of members of each bucket; the index is the cpl, the last one open-ended."""
        return [len(bucket.members) for bucket in self._buckets]

    def replacement_sizes(self) -> list[int]:
        """Return the number of peers waiting in each bucket's replacement cache."""
        return [len(bucket.replacements) for bucket in self._buckets]

    def sizes_by_cpl(self) -> list[int]:
        """Return the number of members of each exact cpl, up to the largest that has any."""
        sizes = self.bucket_sizes()
        last = sizes.pop()
        if last:
            deep = [member.cpl for member in self._buckets[-1].members.values()]
            sizes += [deep.count(cpl) for cpl in range(len(sizes), max(deep) + 1)]
        while sizes and not sizes[-1]:
            sizes.pop()
        return sizes

    def update(
        self,
        peer: PeerId,
        now: float,
        *,
        ips: Sequence[str] = (),
        answered: bool = False,
        rtt_s: float | None = None,
    ) -> Outcome:
        """Take in a contact with `peer`, which serves our protocol, and add it if it may enter.

        Args:
            now: monotonic seconds.
            ips: the IP addresses that it is reached at; counted by `IpDiversity` when it is added.
            answered: it answered a request of ours.
            rtt_s: seconds that the answer took.
        """
        key = self._key_of(peer)
        if key == self.self_key:
            return Refused(Refusal.SELF)
        bucket = self._buckets[self._index(key)]
        if key in bucket.members:
            bucket.touch(key).note(now, answered=answered, rtt_s=rtt_s)
            return _REFRESHED
        cpl = common_prefix_length(key, self.self_key, bits=self._bits)
        if self._diversity is not None and not self._diversity.allows(cpl, ips):
            bucket.replacements.pop(key, None)
            return Refused(Refusal.IP_DIVERSITY)
        newcomer = Member(peer, key, cpl, tuple(ips), added_at=now, last_seen=now)
        newcomer.note(now, answered=answered, rtt_s=rtt_s)
        bucket = self._make_room(key)
        if bucket.full:
            bucket.spare(newcomer)
            oldest = bucket.least_recently_seen()
            return Full(oldest.peer, oldest.last_seen)
        self._add(bucket, newcomer)
        return _ADDED

    def remove(self, peer: PeerId) -> PeerId | None:
        """Forget `peer`. Return the replacement promoted in its place, for the owner to verify, or None."""
        key = self._key_of(peer)
        bucket = self._buckets[self._index(key)]
        bucket.replacements.pop(key, None)
        member = bucket.members.pop(key, None)
        if member is None:
            return None
        self._len -= 1
        self._nearest.clear()
        if self._diversity is not None:
            self._diversity.remove(peer)
        while bucket.replacements:
            _, candidate = bucket.replacements.popitem()
            if self._diversity is None or self._diversity.allows(candidate.cpl, candidate.ips):
                self._add(bucket, candidate)
                return candidate.peer
        return None

    def find_closest(self, target: Key | bytes, n: int, *, exclude: Collection[PeerId] = ()) -> list[PeerId]:
        """Return the `n` members closest to `target`, closest first, without those in `exclude`.

        target: a point of the keyspace, or a preimage (peer id, record key, multihash) of one.

        Buckets are visited in order of distance, so only those that contribute are sorted. With
        `d = target ^ self`, the peers of bucket `i` agree with the target on bit `i` iff that bit of
        `d` is set, and then they are closer than all deeper buckets; otherwise farther.
        """
        if not isinstance(target, int):
            target = self._key_of(target)
        found: list[PeerId] = []
        for bucket in self._by_distance(target ^ self.self_key):
            members = bucket.members
            in_order = [members[key].peer for key in sorted(members, key=target.__xor__)]
            found += [peer for peer in in_order if peer not in exclude] if exclude else in_order
            if len(found) >= n:
                del found[n:]
                break
        return found

    def has_room(self, peer: PeerId) -> bool:
        """Whether `peer` would find a place: its bucket has one, or can be split."""
        index = self._index(self._key_of(peer))
        return not self._buckets[index].full or index == len(self._buckets) - 1

    def waiting_since(self, peer: PeerId, since: float) -> int:
        """Return how many peers seen after `since` wait for a place in the bucket of `peer`."""
        replacements = self._buckets[self._index(self._key_of(peer))].replacements
        return sum(candidate.last_seen > since for candidate in replacements.values())

    def least_recently_seen(self, peer: PeerId) -> Member | None:
        """Return the member of the bucket of `peer` that was seen longest ago, None if it has none."""
        bucket = self._buckets[self._index(self._key_of(peer))]
        return bucket.least_recently_seen() if bucket.members else None

    def nearest(self, n: int) -> tuple[PeerId, ...]:
        """Return the `n` members closest to ourselves, closest first. Costs little while they stay."""
        found = self._nearest.get(n)
        if found is None:
            found = self._nearest[n] = tuple(self.find_closest(self.self_key, n))
        return found

    def stale(self, now: float, *, grace_s: float) -> list[PeerId]:
        """Return members that have answered nothing for `grace_s`: ping them, `remove` the silent ones.

        A new member's grace begins when it is added. See `usefulness_grace_s`.
        """
        return [
            member.peer
            for member in self._members()
            if now - (member.added_at if member.last_useful is None else member.last_useful) > grace_s
        ]

    def _members(self) -> Iterator[Member]:
        for bucket in self._buckets:
            yield from bucket.members.values()

    def _index(self, key: Key) -> int:
        cpl = common_prefix_length(key, self.self_key, bits=self._bits)
        return min(cpl, len(self._buckets) - 1)

    def _make_room(self, key: Key) -> Bucket:
        """Split the last bucket while `key` belongs to it and it is full; return the bucket of `key`."""
        while (index := self._index(key)) == len(self._buckets) - 1 and index < self._bits - 1:
            if not self._buckets[index].full:
                break
            self._buckets.append(self._buckets[index].split(index))
        return self._buckets[index]

    def _add(self, bucket: Bucket, member: Member) -> None:
        bucket.replacements.pop(member.key, None)
        bucket.members[member.key] = member
        self._len += 1
        self._nearest.clear()
        if self._diversity is not None:
            self._diversity.add(member.peer, member.cpl, member.ips)

    def _by_distance(self, d: int) -> Iterator[Bucket]:
        last = len(self._buckets) - 1
        top = self._bits - 1
        for i in range(last):
            if d >> (top - i) & 1:
                yield self._buckets[i]
        yield self._buckets[last]
        for i in range(last - 1, -1, -1):
            if not d >> (top - i) & 1:
                yield self._buckets[i]
