"""How far other writers' clocks are ahead of ours, from the dates of the values that they put here.

There is no time server to ask, and none is needed: a value that its writer sends itself was dated
before it arrived. On the way time passes, so only a difference of clocks can date it after its
receipt. The other way round nothing follows: a value may be put again long after it was dated.
"""

from __future__ import annotations

from collections import OrderedDict

from primedht import limits
from primedht.ids import PeerId


class WriterClocks:
    """The most that each of the latest writers was ahead of our clock."""

    def __init__(self) -> None:
        self._ahead_s: OrderedDict[PeerId, float] = OrderedDict()

    def note(self, writer: PeerId, ahead_s: float) -> None:
        """`writer` itself sent a value dated `ahead_s` after our receipt (negative: before it)."""
        self._ahead_s[writer] = max(ahead_s, self._ahead_s.get(writer, ahead_s))
        self._ahead_s.move_to_end(writer)
        while len(self._ahead_s) > limits.WRITER_CLOCKS_MAX:
            self._ahead_s.popitem(last=False)

    def ahead_s(self) -> tuple[float, ...]:
        """Return the seconds of each writer whose value was dated about when it arrived, or later."""
        return tuple(each for each in self._ahead_s.values() if each > -limits.WRITER_TIME_AHEAD_S_MAX)
