"""Which turns of a session were joined, and not yet delivered to their end.

Clients join in one request and listen in another, which may come before, after, or never. Pure: whoever calls says what
time it is.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator
from typing import Final

MAX_INBOXES: Final = 10_000
MAX_TURNS: Final = 256
"""How many turns of one session may wait."""

MAX_CLOSED: Final = 1000
REST_S: Final = 0.03
"""How long after a stream's end nobody is told that a turn has joined.

A client that hears of its turn before it has seen its stream end takes the stream for open: it opens no other one, and
waits for ever.
"""

Place = tuple[str, str]
"""A session: its owner and what the client calls it."""


class Inboxes:
    """The inboxes of all sessions. What nobody collects falls out, the oldest first."""

    def __init__(self) -> None:
        self.first_seqs: OrderedDict[Place, dict[str, int]] = OrderedDict()
        self.closed_at: OrderedDict[Place, float] = OrderedDict()

    def of(self, owner: str, session_hash: str) -> Inbox:
        """Return a session's inbox, which follows whatever happens to it."""
        return Inbox(self, (owner, session_hash))


class Inbox(Collection[str]):
    """The turns that wait in one session now: a view, whose items are their ids."""

    __slots__ = ("_inboxes", "_place")

    def __init__(self, inboxes: Inboxes, place: Place) -> None:
        self._inboxes = inboxes
        self._place = place

    @property
    def _turns(self) -> dict[str, int]:
        return self._inboxes.first_seqs.get(self._place, {})

    def __contains__(self, turn_id: object) -> bool:
        return turn_id in self._turns

    def __iter__(self) -> Iterator[str]:
        return iter(self._turns)

    def __len__(self) -> int:
        return len(self._turns)

    def add(self, turn_id: str, first_seq: int) -> None:
        """Let a turn wait, whose first event has this number."""
        places = self._inboxes.first_seqs
        turns = places.setdefault(self._place, {})
        turns[turn_id] = first_seq
        if len(turns) > MAX_TURNS:
            del turns[next(iter(turns))]
        places.move_to_end(self._place)
        if len(places) > MAX_INBOXES:
            places.popitem(last=False)

    def cursor(self, *, but: Collection[str] = ()) -> int | None:
        """Return after which event the oldest turn that waits begins, some left out; None when there is none."""
        return min((seq - 1 for turn_id, seq in self._turns.items() if turn_id not in but), default=None)

    def forget(self, turn_ids: Iterable[str]) -> None:
        """Let turns wait no more: their client has had them to their end, or nobody can tell of them any more."""
        turns = self._turns
        for turn_id in turn_ids:
            turns.pop(turn_id, None)
        if not turns:
            self._inboxes.first_seqs.pop(self._place, None)

    def close(self, turn_ids: Iterable[str], *, now: float) -> None:
        """Forget the turns that a stream has delivered, and remember when it ended; `now` is any clock's seconds."""
        self.forget(turn_ids)
        closed_at = self._inboxes.closed_at
        closed_at[self._place] = now
        closed_at.move_to_end(self._place)
        if len(closed_at) > MAX_CLOSED:
            closed_at.popitem(last=False)

    def rest_s(self, *, now: float) -> float:
        """Return for how long a client should not yet be told that its turn has joined."""
        closed_at = self._inboxes.closed_at.get(self._place)
        return 0.0 if closed_at is None else min(REST_S, max(0.0, closed_at + REST_S - now))
