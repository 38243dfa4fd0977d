"""A room: one session in this process with everything that belongs to it. Knows no other session and no owners."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field

from chatserve.contracts.store import EventPage, HistoryMove, MovedHistory
from chatserve.contracts.turns import BeginTurn, BegunTurn, CommittedTurn, CommitTurn, TurnRecord
from chatserve.core.events import LogEntry, NumberedEvent, last_seq_of, spelled_out
from chatserve.core.frozen import frozen, replace
from chatserve.core.types import Message, Session, Turn
from chatserve.stores import branches, refusals, transitions
from chatserve.stores.transitions import HistoryEnd, TurnPlace


@frozen
class Segment:
    """Events that were stored together."""

    events: tuple[LogEntry, ...]
    stored_at: float


@dataclass(slots=True)
class Room:
    """One session with everything that belongs to it. The dicts keep the order of creation."""

    session: Session
    messages: dict[str, Message] = field(default_factory=dict)
    turns: dict[str, Turn] = field(default_factory=dict)
    places: dict[str, TurnPlace] = field(default_factory=dict)
    segments: list[Segment] = field(default_factory=list)
    open_turn_ids: dict[str, None] = field(default_factory=dict)

    # reading

    @property
    def running_turn_id(self) -> str | None:
        """The id of the running turn, or None."""
        return next((turn.turn_id for turn in self.open_turns() if turn.status == "running"), None)

    @property
    def open_turn_id(self) -> str | None:
        """The id of the running turn, else of the first queued turn, or None."""
        return next((turn.turn_id for turn in self.open_turns()), None)

    def open_turns(self) -> list[Turn]:
        """Return the open turns in the order in which they end: the running one, then the queue."""
        accepted = [self.turns[turn_id] for turn_id in self.open_turn_ids]
        return sorted(accepted, key=lambda turn: turn.status == "queued")

    def branch(self, head: str | None) -> tuple[Message, ...]:
        """Return the messages from the first to `head`."""
        return tuple(self._newest_first(head))[::-1]

    def _newest_first(self, head: str | None) -> Iterator[Message]:
        while head is not None:
            message = self.messages[head]
            yield message
            head = message.parent_id

    def find_prompt(self) -> Message | None:
        """Return the message that began the last turn of the branch."""
        head = self.messages.get(self.session.head or "")
        return branches.find_prompt(self._newest_first(self.session.head), self._turn_of(head))

    def _turn_of(self, message: Message | None) -> Turn | None:
        return None if message is None or message.turn_id is None else self.turns.get(message.turn_id)

    def record_of(self, turn: Turn) -> TurnRecord:
        """Return a turn with its messages."""
        answer = branches.answer_ids(self.messages.values(), turn)
        prompt = self.messages.get(turn.user_message_id or "")
        return TurnRecord(turn, prompt, tuple(self.messages[message_id] for message_id in answer))

    def begun(self, turn: Turn) -> BegunTurn:
        """Return the result of begin and start."""
        return BegunTurn(copied(self.session), turn, self.messages.get(turn.user_message_id or ""))

    # turns

    def place_turn(self, begin: BeginTurn) -> tuple[tuple[Message, ...], Message, TurnPlace]:
        """Return the messages that a turn adds, the message it answers, and its place."""
        is_running = begin.status == "running"
        head = self._roll_back(begin.rollback_turn_id) if is_running else None
        follows_head = transitions.follows_head(begin)
        place = TurnPlace(base_head=head) if is_running else TurnPlace(follows_head, begin.rollback_turn_id)
        if follows_head:
            prompt = transitions.prompt_of(begin, head)
            return (prompt,), prompt, place
        if begin.request.call.operation == "send" and begin.request.history is not None:
            added = transitions.replace_history(begin, self.branch(self.session.head))
            return added, added[-1], place
        named = begin.request.call.target_message_id
        found = self.find_prompt() if named is None else self.messages.get(named)
        return *transitions.place_at(begin, found, self._turn_of(found)), place

    def accept_turn(self, begin: BeginTurn, prompt: Message, place: TurnPlace) -> BegunTurn:
        """Keep a new turn, which runs now or waits."""
        self.session, turn = transitions.accept_turn(self.session, begin, prompt.message_id)
        self.turns[begin.turn_id], self.places[begin.turn_id] = turn, place
        self.open_turn_ids[begin.turn_id] = None
        return self.begun(turn)

    def join_turn(self, turn: Turn, now: float) -> BegunTurn:
        """Start a queued turn: its user message joins the branch."""
        place = self.places[turn.turn_id]
        head = self._roll_back(place.rollback_turn_id)
        if place.follows_head and turn.user_message_id is not None:
            prompt = self.messages[turn.user_message_id]
            self.messages[turn.user_message_id] = replace(prompt, parent_id=head)
        self.places[turn.turn_id] = TurnPlace(base_head=head)
        self.session, started = transitions.start_turn(self.session, turn, now)
        self.turns[turn.turn_id] = started
        return self.begun(started)

    def _roll_back(self, turn_id: str | None) -> str | None:
        if turn_id is None:
            return self.session.head
        head = self.messages.get(self.session.head or "")
        return transitions.roll_back(self.session, head, self.turns.get(turn_id), self.places.get(turn_id))

    def end_turn(self, commit: CommitTurn) -> CommittedTurn:
        """End a turn; the caller adds the messages of `done`."""
        session, turn, done = transitions.end_turn(self.session, self.turns[commit.turn_id], commit)
        self.segments.append(Segment(transitions.last_events(self.session, commit, done), commit.now))
        self.session, self.turns[commit.turn_id] = copied(session), turn
        del self.open_turn_ids[commit.turn_id]
        prompt = self.messages.get(turn.user_message_id or "")
        if prompt is not None and not done.messages:
            self.messages[prompt.message_id] = replace(prompt, status=transitions.status_of_prompt(turn))
        return CommittedTurn(copied(session), turn, done)

    def forget_turn(self, turn_id: str) -> int:
        """Remove a turn that has ended; return the number of turns left."""
        refusals.check_ended(self.turns[turn_id])
        del self.turns[turn_id], self.places[turn_id]
        for message_id, message in self.messages.items():
            if message.turn_id == turn_id:
                self.messages[message_id] = replace(message, turn_id=None)
        return len(self.turns)

    # history operations

    def end_of(self, move: HistoryMove) -> HistoryEnd:
        """Return the result of a history operation. Raises: NothingToUndo."""
        if move.operation == "undo":
            return transitions.end_before(self.session, self.find_prompt())
        if move.operation == "clear" and not move.messages:
            return HistoryEnd(None)
        stored = self.branch(self.session.head)
        rows, head = branches.graft(stored, move.messages, branches.common_start(stored, move.messages))
        return HistoryEnd(head, rows)

    def move_history(self, move: HistoryMove, end: HistoryEnd) -> MovedHistory:
        """Move the head. The caller has added the messages."""
        self.session, event = transitions.move_head(self.session, move, end.head)
        self.segments.append(Segment((event,), move.now))
        return MovedHistory(copied(self.session), end.taken_back)

    # the log

    def append_events(self, events: Sequence[LogEntry], now: float) -> None:
        """Store the events that are not stored yet."""
        unseen = tuple(transitions.unseen_events(self.session.last_seq, events))
        if not unseen:
            return
        self.segments.append(Segment(unseen, now))
        self.session = replace(self.session, last_seq=last_seq_of(unseen[-1]))
        for turn_id, seq in transitions.first_seqs(unseen).items():
            turn = self.turns.get(turn_id)
            if turn is not None and turn.first_seq is None:
                self.turns[turn_id] = replace(turn, first_seq=seq)

    def read_events(self, after: int, limit: int) -> EventPage:
        """Return the stored events after a cursor: whole segments until there are `limit` events."""
        last_seq = self.session.last_seq
        first_seq = self.segments[0].events[0].seq if self.segments else last_seq + 1
        start = bisect_right(self.segments, after, key=lambda segment: last_seq_of(segment.events[-1]))
        events: list[NumberedEvent] = []
        for segment in self.segments[start:]:
            events.extend(event for event in spelled_out(segment.events) if event.seq > after)
            if len(events) >= limit:
                break
        return EventPage(tuple(events), first_seq, last_seq)

    def purge_segments(self, before: float, limit: int) -> int:
        """Remove the oldest segments, except those of open turns; return their number."""
        first_seqs = [turn.first_seq for turn in self.open_turns() if turn.first_seq is not None]
        open_from = min(first_seqs, default=self.session.last_seq + 1)
        count = 0
        for segment in self.segments[:limit]:
            if segment.stored_at >= before or last_seq_of(segment.events[-1]) >= open_from:
                break
            count += 1
        del self.segments[:count]
        return count


def copied(session: Session) -> Session:
    """Return a session with its own copies of all dicts: a chat function may change the state it receives."""
    return transitions.change_session(
        session, metadata=_copied_json(session.metadata), state=_copied_json(session.state)
    )


def _copied_json(value: Mapping[str, object]) -> Mapping[str, object]:
    return deepcopy(value) if value else {}
