"""Inboxes: the turns of each session that a client joined and that were not yet delivered to their end.

Clients join in one request and listen in another, which may come before, after, or never. Pure: callers pass the time.
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
"""How long after a stream's end responses to `queue/join` are delayed.

A client that gets such a response before it has seen its stream end assumes that the stream is open. It opens no new
stream and waits forever.
"""

HEAD_START_S: Final = 0.03
"""How long the response to `queue/join` is ahead of the turn's first words, where a stream may be open.

A Python client drops what its stream receives of a turn before it has seen that response. Without the first value it
takes the edits to it for the value.
"""

Place = tuple[str, str]
"""A session: its owner and its `session_hash`."""


class Inboxes:
    """The inboxes of all sessions. At the limit, the oldest entries are dropped."""

    def __init__(self) -> None:
        self.first_seqs: OrderedDict[Place, dict[str, int]] = OrderedDict()
        self.closed_at: OrderedDict[Place, float] = OrderedDict()

    def of(self, owner: str, session_hash: str) -> Inbox:
        """Return a view of a session's inbox, which reflects later changes."""
        return Inbox(self, (owner, session_hash))


class Inbox(Collection[str]):
    """A view of the waiting turns of one session; its items are their ids."""

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
        """Add a waiting turn, with the number of its first event."""
        places = self._inboxes.first_seqs
        turns = places.setdefault(self._place, {})
        turns[turn_id] = first_seq
        if len(turns) > MAX_TURNS:
            del turns[next(iter(turns))]
        places.move_to_end(self._place)
        if len(places) > MAX_INBOXES:
            places.popitem(last=False)

    def cursor(self, *, but: Collection[str] = ()) -> int | None:
        """Return the event number before the oldest waiting turn, except those in `but`; None if there is none."""
        return min((seq - 1 for turn_id, seq in self._turns.items() if turn_id not in but), default=None)

    @property
    def delay_s(self) -> float:
        """How long the function of a turn that joins now is delayed. While others wait, a stream may be open."""
        return HEAD_START_S if self._turns else 0.0

    def forget(self, turn_ids: Iterable[str]) -> None:
        """Remove turns that were delivered to their end, or that no longer exist."""
        turns = self._turns
        for turn_id in turn_ids:
            turns.pop(turn_id, None)
        if not turns:
            self._inboxes.first_seqs.pop(self._place, None)

    def close(self, turn_ids: Iterable[str], *, now: float) -> None:
        """Remove the turns that a stream has delivered, and note when it ended; `now` is any clock's seconds."""
        self.forget(turn_ids)
        closed_at = self._inboxes.closed_at
        closed_at[self._place] = now
        closed_at.move_to_end(self._place)
        if len(closed_at) > MAX_CLOSED:
            closed_at.popitem(last=False)

    def rest_s(self, *, now: float) -> float:
        """Return how long the response to `queue/join` must still be delayed."""
        closed_at = self._inboxes.closed_at.get(self._place)
        return 0.0 if closed_at is None else min(REST_S, max(0.0, closed_at + REST_S - now))
