"""
Which series leave the page, although the ledger keeps them.

Rules:

1. A series leaves once its repository has had no event for long enough. One of a deleted
   repository need not wait as long: nothing more is going to happen there.
2. None leaves before it has shown its value for as long: what Prometheus has not seen must
   not be hidden from it.
3. A series that comes back first shows what it showed when it left; see ``ledger.book``.
"""

from __future__ import annotations

from dataclasses import dataclass

from exporter.families import SeriesState
from exporter.knowledge import Known

DELETED_MS = 3600 * 1000


@dataclass(frozen=True, slots=True)
class Retirement:
    """
    After how many milliseconds without an event series leave the page; 0 for never.
    """

    after_ms: int = 0

    def hides(self, state: SeriesState, known: Known | None, now_ms: int) -> bool:
        """
        Whether a series has left the page, given what is known of its repository.
        """
        if state.released_ms is None or known is None:
            return False
        return self.is_over(known, now_ms) and now_ms - state.released_ms >= self._wait_ms(known)

    def is_over(self, known: Known, now_ms: int) -> bool:
        """
        Whether a repository has been without events for long enough.
        """
        was_active = self.after_ms > 0 and known.active_ms > 0
        return was_active and now_ms - known.active_ms >= self._wait_ms(known)

    def _wait_ms(self, known: Known) -> int:
        return min(self.after_ms, DELETED_MS) if known.is_deleted else self.after_ms


NEVER = Retirement()
