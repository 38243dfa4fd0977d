"""The live end of a session's log: numbers events, keeps the newest, encodes each once per format for all readers.

Knows no store and no HTTP; formats are `FrameEncoder`s it is handed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from chatserve.contracts import FrameEncoder
from chatserve.events import Done, Event, NumberedEvent

KEPT_EVENTS: Final = 2048
"""How many filed events stay in memory for readers that lag or come back."""


class Waiter(Protocol):
    """Who waits for events."""

    def notice(self) -> None:
        """Learn that there are some; it is told once."""
        ...


class SessionLog:
    """Events of one session, numbered from `base + 1`.

    `published_seq` is the last number readers may see; `journaled_seq` and `filed_seq` the last that is durable,
    and the last that `Store.read_events` knows. `entry_seq` is the last before the turn that runs, or else the end
    of the last one that ran: who enters after it sees whole turns only. `numbering` is held while the store is
    given a number that no event has yet: a turn that runs appends nothing meanwhile.
    """

    __slots__ = (
        "_shared",
        "base",
        "done_seqs",
        "entry_seq",
        "events",
        "filed_seq",
        "first_seqs",
        "journaled_seq",
        "numbering",
        "published_seq",
        "session_id",
        "waiters",
    )

    def __init__(self, session_id: str, last_seq: int) -> None:
        self.session_id = session_id
        self.base = last_seq
        self.published_seq = last_seq
        self.journaled_seq = last_seq
        self.filed_seq = last_seq
        self.entry_seq = last_seq
        self.events: list[NumberedEvent] = []
        self._shared: tuple[FrameEncoder, str | None, int, int, bytes] | None = None
        self.first_seqs: dict[str, int] = {}
        self.done_seqs: dict[str, int] = {}
        self.waiters: list[Waiter] = []
        self.numbering = asyncio.Lock()

    @property
    def last_seq(self) -> int:
        """The number of the newest event."""
        return self.base + len(self.events)

    async def settled(self) -> None:
        """Return when events may be appended."""
        async with self.numbering:
            pass

    def append(self, turn_id: str | None, events: Iterable[Event]) -> None:
        """Number events and keep them; `publish` lets readers see them."""
        seq = self.base + len(self.events)
        for event in events:
            seq += 1
            self.events.append(NumberedEvent(seq, turn_id, event))

    def publish(self, until: int | None = None) -> None:
        """Let readers see all there is, or all up to a number, and tell those that wait."""
        self.published_seq = self.base + len(self.events) if until is None else max(until, self.published_seq)
        waiters = self.waiters
        if waiters:
            self.waiters = []
            for waiter in waiters:
                waiter.notice()

    def begin_turn(self, turn_id: str) -> None:
        """Remember that the next event is the first of this turn."""
        self.first_seqs.setdefault(turn_id, self.last_seq + 1)

    def close_turn(self, done: NumberedEvent) -> None:
        """Take the last event of a turn, as the store completed it."""
        assert done.turn_id is not None
        assert isinstance(done.event, Done)
        self.events.append(done)
        self.done_seqs[done.turn_id] = done.seq

    def unfiled(self) -> Sequence[NumberedEvent]:
        """Return the events that only this log knows."""
        return self.events[self.filed_seq - self.base :]

    def trim(self) -> None:
        """Forget old events that are filed, but for the newest `KEPT_EVENTS`."""
        surplus = min(len(self.events) - KEPT_EVENTS, self.filed_seq - self.base)
        if surplus >= KEPT_EVENTS:
            self._forget(surplus)

    def forget_filed(self) -> None:
        """Forget what is filed: nobody reads here any more, and who comes back is fed by the store."""
        if self.session_id and self.filed_seq > self.base:
            self._shared = None
            self._forget(self.filed_seq - self.base)

    def _forget(self, surplus: int) -> None:
        self.base += surplus
        del self.events[:surplus]
        ended = {turn_id for turn_id, seq in self.done_seqs.items() if seq <= self.base}
        self.done_seqs = {turn_id: seq for turn_id, seq in self.done_seqs.items() if turn_id not in ended}
        self.first_seqs = {turn_id: seq for turn_id, seq in self.first_seqs.items() if turn_id not in ended}

    def encoded(self, encoder: FrameEncoder, turn_id: str | None, after: int, until: int) -> bytes:
        """Return the frames of a turn's events (None: of all) numbered `after + 1` to `until`.

        Readers that are abreast, as those of one answer are, share what was encoded for the first of them.
        """
        shared = self._shared
        if shared is not None and shared[:4] == (encoder, turn_id, after, until):
            return shared[4]
        encode = encoder.encode
        events = self.events[after - self.base : until - self.base]
        frames = b"".join([encode(event) for event in events if turn_id is None or event.turn_id == turn_id])
        self._shared = (encoder, turn_id, after, until, frames)
        return frames
