"""The peers that failed, and when each is tried again.

Each has its own pause, which grows. A lost member that returns means more than itself: what was cut is
whole again, so the others lost at that time are tried at once, few at a time, and more with each that
returns too; such a try out of turn changes no pause and uses up no attempt. Times are monotonic seconds.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

from primedht import limits
from primedht.ids import PeerId
from primedht.kad.key import Key, distance, key_of


@dataclass(slots=True)
class _Departed:
    """was_member: failing made it leave the table, at `lost_at`. is_set_aside: it did not fail, somebody
    wants it away. may_return: one that was lost about when it was has returned.

    out_of_turn_at: when it was last tried out of turn; `is_out_of_turn`: that try has not ended.
    """

    try_at: float
    pause_s: float
    was_member: bool
    failed_at: float
    lost_at: float
    may_return: bool = False
    attempts: int = 0
    is_set_aside: bool = False
    out_of_turn_at: float = -math.inf
    is_out_of_turn: bool = False


class Departed:
    """The departed peers of the node whose key is `own`: `limits.DEPARTED_PEERS_MAX` at most."""

    def __init__(self, own: Key) -> None:
        self._own = own
        self._peers: dict[PeerId, _Departed] = {}

    def __len__(self) -> int:
        return len(self._peers)

    def __contains__(self, peer: PeerId) -> bool:
        return peer in self._peers

    def was_member(self, peer: PeerId) -> bool:
        """Whether `peer` is a member that was lost."""
        gone = self._peers.get(peer)
        return gone is not None and gone.was_member

    def is_set_aside(self, peer: PeerId, now: float) -> bool:
        """Whether `peer` is not looked for because somebody wants it away."""
        gone = self._peers.get(peer)
        return gone is not None and gone.is_set_aside and now < gone.try_at

    def due(self, now: float) -> list[PeerId]:
        """Return those whose turn has come."""
        return [peer for peer, gone in self._peers.items() if gone.try_at <= now]

    def forget(self, peer: PeerId) -> bool:
        """`peer` is back; return whether it is a member that was lost.

        Then others that were lost about when it was may be back too.
        """
        back = self._peers.pop(peer, None)
        if back is None or not back.was_member:
            return False
        for gone in self._peers.values():
            gone.may_return |= abs(gone.lost_at - back.lost_at) <= limits.DEPARTED_TOGETHER_S
        return True

    def set_aside(self, peer: PeerId, now: float, *, was_member: bool) -> None:
        """Do not look for `peer` for `limits.SET_ASIDE_S`."""
        if peer in self._peers or self._make_room(was_member=was_member):
            self._peers[peer] = _Departed(
                now + limits.SET_ASIDE_S, limits.DEPARTED_PAUSE_S, was_member, now, now, is_set_aside=True
            )

    def note_failure(self, peer: PeerId, now: float, *, was_member: bool, is_near: bool = False) -> bool:
        """`peer` failed a request; return False if it has failed too often, and is forgotten.

        is_near: it was or would be a neighbour, and is tried often at first: records are shared with it.
        """
        gone = self._peers.get(peer)
        if gone is None:
            if self._make_room(was_member=was_member):
                pause_s = limits.DEPARTED_PAUSE_S
                self._peers[peer] = _Departed(now + pause_s, pause_s, was_member, now, now)
            return True
        gone.failed_at = now
        if was_member and not gone.was_member:
            gone.was_member, gone.lost_at = True, now
        if gone.is_out_of_turn:
            gone.is_out_of_turn = False
            gone.try_at = max(gone.try_at, now + limits.DEPARTED_PAUSE_S)
            return True
        gone.attempts += 1
        if gone.attempts >= (
            limits.DEPARTED_ATTEMPTS_MAX if gone.was_member else limits.STRANGER_ATTEMPTS_MAX
        ):
            del self._peers[peer]
            return False
        if is_near and gone.was_member and now - gone.lost_at < limits.DEPARTED_NEAR_S:
            gone.pause_s = min(2 * gone.pause_s, limits.DEPARTED_NEAR_PAUSE_S)
        else:
            gone.pause_s = min(limits.DEPARTED_PAUSE_GROWTH * gone.pause_s, limits.DEPARTED_PAUSE_S_MAX)
        gone.try_at = now + gone.pause_s
        return True

    def closest_out_of_turn(self, now: float, *, exclude: Collection[PeerId]) -> PeerId | None:
        """Return the lost member closest to us that may be tried out of turn, if there is one."""
        ready = [
            peer
            for peer, gone in self._peers.items()
            if gone.may_return and peer not in exclude and self._is_ready(gone, now)
        ]
        return min(ready, key=lambda peer: distance(key_of(peer), self._own), default=None)

    def may_be_back(self, peer: PeerId, now: float) -> bool:
        """Whether word of `peer` is worth a try out of turn.

        Not soon after it failed: those that have not noticed yet go on naming it.
        """
        gone = self._peers.get(peer)
        return (
            gone is not None
            and self._is_ready(gone, now)
            and now - gone.failed_at >= limits.DEPARTED_WORD_AFTER_S
        )

    def try_out_of_turn(self, peer: PeerId, now: float) -> None:
        """Note that `peer` is tried now: if that fails, its pause stays as it was."""
        gone = self._peers[peer]
        gone.out_of_turn_at = now
        gone.is_out_of_turn = True

    def _is_ready(self, gone: _Departed, now: float) -> bool:
        return (
            gone.was_member
            and not (gone.is_set_aside and now < gone.try_at)
            and now - gone.out_of_turn_at >= limits.DEPARTED_OUT_OF_TURN_S
        )

    def _make_room(self, *, was_member: bool) -> bool:
        """Forget one of too many, strangers first: whoever names peers that do not exist must not make
        this node forget the members that it lost. False: there is no room."""
        if len(self._peers) < limits.DEPARTED_PEERS_MAX:
            return True
        stranger = next((peer for peer, gone in self._peers.items() if not gone.was_member), None)
        if stranger is None and not was_member:
            return False
        del self._peers[next(iter(self._peers)) if stranger is None else stranger]
        return True
