"""Inboxes: the events of each session that a client joined and that were not yet delivered to their end.

An event is a turn, or a refusal: a call that was joined but cannot become a turn.

Clients join in one request and listen in another, which may come before, after, or never. Pure: callers pass the time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator
from typing import Final, TypeVar

from chatserve.core.frozen import frozen
from chatserve.core.types import TurnError

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

Waiting = TypeVar("Waiting")


@frozen
class Refusal:
    """Why a joined call is no turn. It is sent from `due_at` on, when the client has the response to its join."""

    error: TurnError
    due_at: float


class Inboxes:
    """The inboxes of all sessions. At the limit, the oldest entries are dropped."""

    def __init__(self) -> None:
        self.first_seqs: OrderedDict[Place, dict[str, int]] = OrderedDict()
        self.refusals: OrderedDict[Place, dict[str, Refusal]] = OrderedDict()
        self.closed_at: OrderedDict[Place, float] = OrderedDict()

    def of(self, owner: str, session_hash: str) -> Inbox:
        """Return a view of a session's inbox, which reflects later changes."""
        return Inbox(self, (owner, session_hash))


class Inbox(Collection[str]):
    """A view of the waiting events of one session; its items are their ids."""

    __slots__ = ("_inboxes", "_place")

    def __init__(self, inboxes: Inboxes, place: Place) -> None:
        self._inboxes = inboxes
        self._place = place

    @property
    def turns(self) -> dict[str, int]:
        """The waiting turns, each with the number of its first event."""
        return self._inboxes.first_seqs.get(self._place, {})

    @property
    def refusals(self) -> dict[str, Refusal]:
        """The refusals that wait to be told."""
        return self._inboxes.refusals.get(self._place, {})

    def __contains__(self, event_id: object) -> bool:
        return event_id in self.turns or event_id in self.refusals

    def __iter__(self) -> Iterator[str]:
        return iter((*self.turns, *self.refusals))

    def __len__(self) -> int:
        return len(self.turns) + len(self.refusals)

    def add(self, turn_id: str, first_seq: int) -> None:
        """Add a waiting turn, with the number of its first event."""
        _add(self._inboxes.first_seqs, self._place, turn_id, first_seq)

    def add_refusal(self, event_id: str, error: TurnError, *, now: float) -> None:
        """Add a call that cannot become a turn."""
        _add(self._inboxes.refusals, self._place, event_id, Refusal(error, now + HEAD_START_S))

    def cursor(self, *, but: Collection[str] = ()) -> int | None:
        """Return the event number before the oldest waiting turn, except those in `but`; None if there is none."""
        return min((seq - 1 for turn_id, seq in self.turns.items() if turn_id not in but), default=None)

    @property
    def delay_s(self) -> float:
        """How long the function of a turn that joins now is delayed. While others wait, a stream may be open."""
        return HEAD_START_S if len(self) else 0.0

    def wait_s(self, *, now: float) -> float:
        """Return how long it takes until all refusals are due, if nothing else is waiting."""
        dues = [] if self.turns else [refusal.due_at - now for refusal in self.refusals.values()]
        return max(0.0, *dues) if dues else 0.0

    def forget(self, event_ids: Iterable[str]) -> None:
        """Remove events that were delivered to their end, or that no longer exist."""
        _forget(self._inboxes.first_seqs, self._place, event_ids := list(event_ids))
        _forget(self._inboxes.refusals, self._place, event_ids)

    def close(self, event_ids: Iterable[str], *, now: float) -> None:
        """Remove the events that a stream has delivered, and note when it ended; `now` is any clock's seconds."""
        self.forget(event_ids)
        closed_at = self._inboxes.closed_at
        closed_at[self._place] = now
        closed_at.move_to_end(self._place)
        if len(closed_at) > MAX_CLOSED:
            closed_at.popitem(last=False)

    def rest_s(self, *, now: float) -> float:
        """Return how long the response to `queue/join` must still be delayed."""
        closed_at = self._inboxes.closed_at.get(self._place)
        return 0.0 if closed_at is None else min(REST_S, max(0.0, closed_at + REST_S - now))


def _add(places: OrderedDict[Place, dict[str, Waiting]], place: Place, event_id: str, waiting: Waiting) -> None:
    events = places.setdefault(place, {})
    events[event_id] = waiting
    if len(events) > MAX_TURNS:
        del events[next(iter(events))]
    places.move_to_end(place)
    if len(places) > MAX_INBOXES:
        places.popitem(last=False)


def _forget(places: OrderedDict[Place, dict[str, Waiting]], place: Place, event_ids: Iterable[str]) -> None:
    events = places.get(place, {})
    for event_id in event_ids:
        events.pop(event_id, None)
    if not events:
        places.pop(place, None)
