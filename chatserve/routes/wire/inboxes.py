"""Which turns of a session were asked for, and not yet delivered to their end.

For protocols that ask in one request and listen in another. Knows no protocol and no HTTP.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

MAX_INBOXES: Final = 10_000


class Inboxes:
    """Numbers of first events, by session. What nobody collects falls out at last, the oldest first."""

    def __init__(self) -> None:
        self._first_seqs: OrderedDict[str, list[int]] = OrderedDict()

    def add(self, session_id: str, first_seq: int) -> None:
        """Let a turn wait, by the number of its first event."""
        self._first_seqs.setdefault(session_id, []).append(first_seq)
        self._first_seqs.move_to_end(session_id)
        if len(self._first_seqs) > MAX_INBOXES:
            self._first_seqs.popitem(last=False)

    def cursor(self, session_id: str) -> int | None:
        """Return after which event the oldest turn that waits begins; None when none does."""
        waiting = self._first_seqs.get(session_id)
        return min(waiting) - 1 if waiting else None

    def delivered(self, session_id: str, until: int) -> None:
        """Forget the turns that began at an event up to `until`: their client has had them to their end."""
        left = [seq for seq in self._first_seqs.pop(session_id, ()) if seq > until]
        if left:
            self._first_seqs[session_id] = left
