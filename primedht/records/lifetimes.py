"""How long a record lives, on its holders and on the copies they make.

A copy carries the seconds it has left (`Record.ttl`, field 777) and dies with its original. Only
the writer's own put gives a full life: the one that names its sender as publisher, or one that
carries no seconds left at all (go and js peers send none).

Source: docs/design.md, "Keys, values, lifetimes"; rust-libp2p kad, behaviour.rs (record_received).
"""

from __future__ import annotations

from primedht import limits
from primedht.records import rfc3339
from primedht.records.keys import KeyClass
from primedht.records.record import ValidRecord

_REPUBLISH_SHARE = 0.45  # of the life: one republish may fail and the next still comes in time
_TRANSIT_S = 1.0  # a copy is on its way while its life goes on


def from_writer(*, copy_ttl_s: int, publisher: bytes, sender: bytes) -> bool:
    """Return whether a PUT_VALUE is the writer's own, which may renew, or brings a copy.

    copy_ttl_s: `Record.ttl`, 0 if absent. sender: the peer id that the connection proves.
    """
    return copy_ttl_s == 0 or publisher == sender


def expires_unix_s(
    record: ValidRecord, *, received_unix_s: float, ttl_s: float, copy_ttl_s: int, stamped_at: str = ""
) -> float:
    """Return when a record received at `received_unix_s` ends for its holder.

    ttl_s: how long this node keeps records. copy_ttl_s: `Record.ttl`, 0 if absent.
    stamped_at: `time_received` of a record that came in a reply, else "". go peers serve the `ttl`
        that they were sent, and drop a record at the age of 48 h, so the age is taken off either;
        ours stamp both fields as they answer.

    `/prime` records end when their owner signed that they do, `/ipns` records by then at the latest.
    """
    if record.key_class is KeyClass.PRIME and record.expires_unix_s is not None:
        return record.expires_unix_s
    life_s = ttl_s if copy_ttl_s == 0 else min(ttl_s, copy_ttl_s)
    stamped_unix_ns = rfc3339.parse_unix_ns(stamped_at)
    if stamped_unix_ns is not None:
        age_s = max(0.0, received_unix_s - stamped_unix_ns / 1e9)
        life_s = min(life_s, max(0.0, (copy_ttl_s or limits.RECORD_AGE_S_MAX) - age_s))
    end_unix_s = received_unix_s + life_s
    return end_unix_s if record.expires_unix_s is None else min(end_unix_s, record.expires_unix_s)


def ttl_left_s(expires_unix_s: float, now_unix_s: float) -> int:
    """Return the `Record.ttl` of a copy sent now. 0: too little is left, send none.

    A copy sent with `ttl` 0 would start a new life.
    """
    return max(0, min(int(expires_unix_s - now_unix_s - _TRANSIT_S), 2**32 - 1))


def republish_interval_s(ttl_s: float) -> float:
    """Return how often a publisher puts its record again: go and js holders drop it after 48 h."""
    return _REPUBLISH_SHARE * min(ttl_s, limits.RECORD_AGE_S_MAX)
