"""One k-bucket: its members in order of last contact, and its replacement cache.

Both are bounded by `size`. Members leave only when the owner removes them: a newcomer to a full
bucket waits in the replacement cache until a member proves dead. That favours long-lived peers and
keeps a flood of newcomers out.

Source: Maymounkov and Mazieres, "Kademlia" (2002), 2.2 and 4.1.
"""

from __future__ import annotations

from dataclasses import dataclass

from primedht.ids import PeerId
from primedht.kad.key import Key

RTT_GAIN = 1 / 8  # RFC 6298, 2.3: weight of a new measurement


@dataclass(slots=True)
class Member:
    """What the table knows of one peer. Read it; only the table writes it.

    Times are monotonic seconds. added_at: when it became a member. last_seen: the last message from
    it, either way. last_useful: its last answer to a request of ours, None before the first.
    rtt_s: smoothed round-trip time, None while unmeasured. ips: its addresses, for `IpDiversity`.
    """

    peer: PeerId
    key: Key
    cpl: int
    ips: tuple[str, ...]
    added_at: float
    last_seen: float
    last_useful: float | None = None
    rtt_s: float | None = None

    def note(self, now: float, *, answered: bool, rtt_s: float | None) -> None:
        """Take in one contact at `now`."""
        self.last_seen = now
        if answered:
            self.last_useful = now
        if rtt_s is not None:
            self.rtt_s = rtt_s if self.rtt_s is None else self.rtt_s + RTT_GAIN * (rtt_s - self.rtt_s)


class Bucket:
    """Up to `size` members and as many replacements, each ordered from least to most recently seen."""

    __slots__ = ("members", "replacements", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.members: dict[Key, Member] = {}
        self.replacements: dict[Key, Member] = {}

    @property
    def full(self) -> bool:
        return len(self.members) >= self.size

    def touch(self, key: Key) -> Member:
        """Make the member under `key` the most recently seen, and return it."""
        member = self.members.pop(key)
        self.members[key] = member
        return member

    def least_recently_seen(self) -> Member:
        """Return the member that the next eviction check should ping."""
        return next(iter(self.members.values()))

    def spare(self, newcomer: Member) -> None:
        """Remember `newcomer` as the first choice when a member leaves; the oldest choice yields."""
        previous = self.replacements.pop(newcomer.key, None)
        if previous is not None:
            newcomer.added_at = previous.added_at
        elif len(self.replacements) >= self.size:
            del self.replacements[next(iter(self.replacements))]
        self.replacements[newcomer.key] = newcomer

    def split(self, cpl: int) -> Bucket:
        """Move everything that shares more than `cpl` bits with us into a new bucket, and return that."""
        deeper = Bucket(self.size)
        for mine, theirs in (
            (self.members, deeper.members),
            (self.replacements, deeper.replacements),
        ):
            for key in [key for key, member in mine.items() if member.cpl > cpl]:
                theirs[key] = mine.pop(key)
        return deeper
