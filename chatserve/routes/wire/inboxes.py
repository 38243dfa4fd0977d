"""Which turns of a session were asked for, and not yet delivered to their end.

For protocols that ask in one request and listen in another. Knows no protocol and no HTTP.
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
"""A session: its owner and its id."""


class Inboxes:
    """Turns that wait, with the numbers of their first events. What nobody collects falls out, the oldest first."""

    def __init__(self) -> None:
        self._first_seqs: OrderedDict[Place, dict[str, int]] = OrderedDict()
        self._closed_at: OrderedDict[Place, float] = OrderedDict()

    def add(self, place: Place, turn_id: str, first_seq: int) -> None:
        """Let a turn wait."""
        turns = self._first_seqs.setdefault(place, {})
        turns[turn_id] = first_seq
        if len(turns) > MAX_TURNS:
            del turns[next(iter(turns))]
        self._first_seqs.move_to_end(place)
        if len(self._first_seqs) > MAX_INBOXES:
            self._first_seqs.popitem(last=False)

    def waiting(self, place: Place) -> Waiting:
        """Return the turns that wait in a session, at any time."""
        return Waiting(self._first_seqs, place)

    def cursor(self, place: Place, *, but: Collection[str] = ()) -> int | None:
        """Return after which event the oldest turn that waits begins, some left out; None when there is none."""
        turns = self._first_seqs.get(place, {})
        return min((seq - 1 for turn_id, seq in turns.items() if turn_id not in but), default=None)

    def forget(self, place: Place, turn_ids: Iterable[str]) -> None:
        """Let turns wait no more: their client has had them to their end, or nobody can tell of them any more."""
        turns = self._first_seqs.get(place, {})
        for turn_id in turn_ids:
            turns.pop(turn_id, None)
        if not turns:
            self._first_seqs.pop(place, None)

    def close(self, place: Place, turn_ids: Iterable[str], *, now: float) -> None:
        """Forget the turns that a stream has delivered, and remember when it ended; `now` is any clock's seconds."""
        self.forget(place, turn_ids)
        self._closed_at[place] = now
        self._closed_at.move_to_end(place)
        if len(self._closed_at) > MAX_CLOSED:
            self._closed_at.popitem(last=False)

    def rest_s(self, place: Place, *, now: float) -> float:
        """Return for how long a client should not yet be told that its turn has joined."""
        return max(0.0, self._closed_at.get(place, now - REST_S) + REST_S - now)


class Waiting(Collection[str]):
    """The turns that wait in a session now: a view."""

    def __init__(self, first_seqs: OrderedDict[Place, dict[str, int]], place: Place) -> None:
        self._first_seqs = first_seqs
        self._place = place

    def __contains__(self, turn_id: object) -> bool:
        return turn_id in self._first_seqs.get(self._place, ())

    def __iter__(self) -> Iterator[str]:
        return iter(self._first_seqs.get(self._place, ()))

    def __len__(self) -> int:
        return len(self._first_seqs.get(self._place, ()))
