"""The newest part of a session's log: numbers events, keeps them, encodes each once per format for all readers.

Knows no store and no HTTP, and formats only as `FrameEncoder`s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Protocol, cast

from chatserve.contracts.formats import FrameEncoder
from chatserve.core.events import Delta, Done, Event, LogEntry, NumberedEvent, YieldedEvent, delta_event, words_entry
from chatserve.core.types import Turn
from chatserve.engine.pace import Pace


class Waiter(Protocol):
    """A cursor that waits for events. The log advances `seq` past the events that it hands over."""

    seq: int
    turn_id: str | None
    encoder: FrameEncoder

    def hand(self, frames: bytes) -> bool:
        """Accept the next frames; b"": check the log. Return whether the cursor still waits.

        Raises: the server's exceptions.
        """
        ...

    def fail(self, error: Exception) -> None:
        """Accept the error of its encoder or server. It gets no further frames; other waiters are not affected."""
        ...


class SessionLog:
    """Events of one session, numbered from `base + 1`.

    `published_seq` is the last number that readers may see. `journaled_seq` is the last that is durable, `filed_seq`
    the last that `Store.read_events` finds. `entry_seq` is the last number before the running turn, or otherwise the
    end of the last turn that ran: a reader that starts there sees whole turns only. `speaker` is the turn that appends
    deltas, as only one turn runs at a time. `waiters` have taken all published events and wait for more. The lock
    `numbering` is held while the store receives a number that no event has yet; the running turn appends no events
    meanwhile.
    """

    __slots__ = (
        "_entries",
        "_numbering",
        "_shared",
        "_speakers",
        "_speaks_from",
        "base",
        "done_seqs",
        "entry_seq",
        "filed_seq",
        "first_seqs",
        "journaled_seq",
        "last_seq",
        "pace",
        "published_seq",
        "session_id",
        "speaker",
        "waiters",
    )

    def __init__(self, session_id: str, last_seq: int, pace: Pace) -> None:
        self.pace = pace
        self.session_id = session_id
        self.base = last_seq
        self.last_seq = last_seq
        self.published_seq = last_seq
        self.journaled_seq = last_seq
        self.filed_seq = last_seq
        self.entry_seq = last_seq
        self.speaker: str | None = None
        # A string among the entries is a delta, which then takes one object instead of three. `_speakers` has the turn
        # to which the deltas from a number on belong.
        self._entries: list[NumberedEvent | str] = []
        self._speakers: list[tuple[int, str | None]] = [(0, None)]
        self._speaks_from = 0
        self._shared: tuple[FrameEncoder, str | None, int, int, bytes] | None = None
        self.first_seqs: dict[str, int] = {}
        self.done_seqs: dict[str, int] = {}
        self.waiters: list[Waiter] = []
        self._numbering: asyncio.Lock | None = (
            None  # made when the first turn ends, so that deltas before need not check it
        )

    @property
    def numbering(self) -> asyncio.Lock:
        """The lock `numbering`, see the class."""
        if self._numbering is None:
            self._numbering = asyncio.Lock()
        return self._numbering

    @property
    def is_numbering(self) -> bool:
        """Whether `numbering` is held."""
        return self._numbering is not None and self._numbering.locked()

    def is_open_to(self, turn_id: str) -> bool:
        """Whether `say` may be called for a turn.

        It may if the turn is the speaker, all events are published, the store is not far behind, and the next number
        is free.
        """
        last_seq = self.last_seq
        return (
            self.speaker == turn_id
            and self.published_seq == last_seq
            and last_seq - self.journaled_seq < self.pace.max_unjournaled
            and (self._numbering is None or not self._numbering.locked())
        )

    async def settled(self) -> None:
        """Return when events may be appended."""
        if self._numbering is not None:
            async with self._numbering:
                pass

    def append(self, turn_id: str | None, events: Iterable[Event]) -> None:
        """Number events and keep them. `show` or `publish` publishes them."""
        for event in events:
            self.last_seq += 1
            if type(event) is not Delta:
                self._entries.append(NumberedEvent(self.last_seq, turn_id, event))
                continue
            if turn_id != self.speaker:
                self.speaker, self._speaks_from = turn_id, self.last_seq
                self._speakers.append((self.last_seq, turn_id))
            self._entries.append(event[0])

    def append_yield(self, turn_id: str, events: Sequence[Event], *, is_list: bool) -> None:
        """Number the events of one yield and keep them, so that encoders can tell where the yield ends."""
        if len(events) <= 1 and not is_list:
            self.append(turn_id, events)
            return
        for left, event in zip(reversed(range(len(events))), events, strict=True):
            self.last_seq += 1
            yielded = YieldedEvent.of(self.last_seq, turn_id, event, goes_on=left > 0, is_list=is_list)
            self._entries.append(yielded)

    def say(self, text: str) -> None:
        """Append a delta of the `speaker` and publish it at once. This is the hot path.

        It has the effect of `append` and `show` for one delta, and nearly all events of an answer are deltas.
        """
        seq = self.last_seq + 1
        self.last_seq = self.published_seq = seq
        self._entries.append(text)
        waiters = self.waiters
        if not waiters:
            return
        turn_id, encoder, frames = self.speaker, None, b""
        event = delta_event(seq, turn_id, text)
        gone: list[Waiter] | None = None
        for waiter in waiters:
            try:
                if waiter.seq != seq - 1 or (waiter.turn_id != turn_id and waiter.turn_id is not None):
                    waits_on = waiter.hand(b"")
                else:
                    if waiter.encoder is not encoder:
                        frames = waiter.encoder.encode(event)
                        encoder = waiter.encoder
                    waiter.seq = seq
                    waits_on = waiter.hand(frames)
            except Exception as error:  # noqa: BLE001 - fails only this reader, not the turn
                waiter.fail(error)
                waits_on = False
            if not waits_on:
                gone = [waiter] if gone is None else [*gone, waiter]
        if gone is not None:
            self.waiters = [waiter for waiter in waiters if waiter not in gone]

    def numbered(self, after: int, until: int) -> list[NumberedEvent]:
        """Return the events `after + 1` to `until`, which must still be in memory."""
        return [
            delta_event(seq, self._speaker_at(seq), entry) if isinstance(entry, str) else entry
            for seq, entry in enumerate(self._entries[after - self.base : until - self.base], after + 1)
        ]

    def unjournaled(self) -> Sequence[LogEntry]:
        """Return the events that are not durable yet, with runs of deltas in their compact form."""
        after = self.journaled_seq
        entries = self._entries[after - self.base :]
        if after + 1 >= self._speaks_from and (type(entries[0]) is str if len(entries) == 1 else _are_words(entries)):
            return (words_entry(after + 1, self.speaker, cast("list[str]", entries)),)
        return self._entries_after(after)

    def unfiled(self) -> Sequence[LogEntry]:
        """Return the events that are not filed yet."""
        return self._entries_after(self.filed_seq)

    def _entries_after(self, after: int) -> Sequence[LogEntry]:
        gathered: list[LogEntry] = []
        starts = {seq for seq, _ in self._speakers}
        texts: list[str] | None = None
        for seq, entry in enumerate(self._entries[after - self.base :], after + 1):
            if not isinstance(entry, str):
                gathered.append(entry)
                texts = None
                continue
            if texts is None or seq in starts:
                texts = []
                gathered.append(words_entry(seq, self._speaker_at(seq), texts))
            texts.append(entry)
        return gathered

    def _speaker_at(self, seq: int) -> str | None:
        if seq >= self._speaks_from:
            return self.speaker
        return next(turn_id for first_seq, turn_id in reversed(self._speakers) if first_seq <= seq)

    def show(self) -> None:
        """Publish all events, none of which ends a turn, and hand their frames to the waiting cursors."""
        after, until = self.published_seq, self.last_seq
        self.published_seq = until
        self.waiters = [waiter for waiter in self.waiters if self._show_to(waiter, after, until)]

    def _show_to(self, waiter: Waiter, after: int, until: int) -> bool:
        try:
            if waiter.seq != after or until - after > self.pace.shown_events:
                return waiter.hand(b"")
            frames = self.encoded(waiter.encoder, waiter.turn_id, after, until, share=len(self.waiters) > 1)
            waiter.seq = until
            return waiter.hand(frames)
        except Exception as error:  # noqa: BLE001 - as in `say`
            waiter.fail(error)
            return False

    def publish(self, until: int | None = None) -> None:
        """Publish all events, or all up to a number, and wake the waiting cursors."""
        self.published_seq = self.last_seq if until is None else max(until, self.published_seq)
        waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            waiter.hand(b"")

    def begin_turn(self, turn_id: str) -> None:
        """Note that the next event is the first of this turn."""
        self.first_seqs.setdefault(turn_id, self.last_seq + 1)

    def enter_turn(self) -> None:
        """Note that the running turn begins with the next event."""
        self.entry_seq = self.last_seq

    def close_turn(self, done: NumberedEvent, *, has_run: bool) -> None:
        """Append and publish a turn's `done` as the store completed it. The whole log is filed by now."""
        assert done.turn_id is not None
        assert isinstance(done.event, Done)
        self._entries.append(done)
        self.last_seq = done.seq
        self.done_seqs[done.turn_id] = done.seq
        if has_run:
            self.entry_seq = done.seq
        self.file(done.seq)
        self.publish()
        self.trim()

    def note_done(self, turn_id: str, seq: int) -> None:
        """Note where a turn ended, which may be before the beginning of this log."""
        self.done_seqs[turn_id] = seq

    def note_dones(self, events: Iterable[NumberedEvent]) -> None:
        """Note the ends of turns in events from the store."""
        for seq, turn_id, event in events:
            if turn_id is not None and isinstance(event, Done):
                self.done_seqs[turn_id] = seq

    def first_seq_of(self, turn: Turn) -> int:
        """Return the number of a turn's first event."""
        return self.first_seqs.get(turn.turn_id) or turn.first_seq or 1

    def add_filed(self, event: Event) -> None:
        """Append and publish an event that belongs to no turn and is filed already."""
        self.append(None, (event,))
        self.file(self.last_seq)
        self.publish()

    def journal(self, until: int) -> None:
        """Note that the events up to a number are durable."""
        self.journaled_seq = max(self.journaled_seq, until)

    def file(self, until: int) -> None:
        """Note that the events up to a number are filed, so that `Store.read_events` finds them."""
        self.filed_seq = max(self.filed_seq, until)
        self.journal(self.filed_seq)

    def trim(self) -> None:
        """Drop old filed events, except for the newest `Pace.kept_events`."""
        kept = self.pace.kept_events
        surplus = min(len(self._entries) - kept, self.filed_seq - self.base)
        if surplus >= kept:
            self._forget(surplus)

    def keep_nothing(self) -> None:
        """Treat all events as stored, because a stateless turn stores none."""
        self.file(self.last_seq)
        self.trim()

    def forget_filed(self) -> None:
        """Drop filed events when there are no readers left; readers that come back are fed from the store."""
        if self.session_id and self.filed_seq > self.base:
            self._shared = None
            self._forget(self.filed_seq - self.base)

    def _forget(self, surplus: int) -> None:
        self.base += surplus
        del self._entries[:surplus]
        while len(self._speakers) > 1 and self._speakers[1][0] <= self.base + 1:
            del self._speakers[0]
        ended = {turn_id for turn_id, seq in self.done_seqs.items() if seq <= self.base}
        self.done_seqs = {turn_id: seq for turn_id, seq in self.done_seqs.items() if turn_id not in ended}
        self.first_seqs = {turn_id: seq for turn_id, seq in self.first_seqs.items() if turn_id not in ended}

    def encoded(self, encoder: FrameEncoder, turn_id: str | None, after: int, until: int, *, share: bool) -> bytes:
        """Return the frames of a turn's events (None: of all) numbered `after + 1` to `until`.

        With `share`, readers at the same position, as those of one answer often are, reuse the first one's frames.
        """
        shared = self._shared
        if shared is not None and shared[:4] == (encoder, turn_id, after, until):
            return shared[4]
        encode = encoder.encode
        events = self.numbered(after, until)
        frames = b"".join([encode(event) for event in events if turn_id is None or event.turn_id == turn_id])
        if share:
            self._shared = (encoder, turn_id, after, until, frames)
        return frames


def _are_words(entries: Sequence[NumberedEvent | str]) -> bool:
    return bool(entries) and all(type(entry) is str for entry in entries)
