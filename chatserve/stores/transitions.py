"""How each operation changes a session and a turn: pure functions from values to values, shared by all stores.

A store loads values, calls this module for the next ones, and saves them. The rules that all stores must follow are
here: when a version grows, where a branch goes on, how recovery ends a turn. Knows no tables and no I/O.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, cast

from chatserve.answers.fold import fold_events
from chatserve.contracts.store import HistoryMove, SessionChanges, SessionRecord
from chatserve.contracts.turns import RECOVERY_GAP, TURN_OPEN, BeginTurn, CommitTurn, NewSession
from chatserve.core.events import Done, HistoryChanged, LogEntry, NumberedEvent, last_seq_of, spelled_out
from chatserve.core.frozen import frozen, replacer_of
from chatserve.core.types import FinalStatus, Message, Session, Turn
from chatserve.stores import branches, refusals

change_session: Final = replacer_of(Session)
change_turn: Final = replacer_of(Turn)


@frozen
class TurnPlace:
    """The place of a turn in the tree of messages, besides what `Turn` says.

    `follows_head`: when the turn starts, its user message is linked to the head of that moment. `rollback_turn_id`: the
    turn to remove from the branch at that moment. `base_head`: the head before the turn began, to which a rollback
    returns.
    """

    follows_head: bool = False
    rollback_turn_id: str | None = None
    base_head: str | None = None


@frozen
class HistoryEnd:
    """The result of a history operation: the new head, the messages it adds, the user message it takes back."""

    head: str | None
    added: tuple[Message, ...] = ()
    taken_back: Message | None = None


# --- sessions ----------------------------------------------------------------------------------------------------


def create_session(new: NewSession, now: float) -> Session:
    """Return a new session."""
    return Session(
        session_id=new.session_id,
        owner=new.owner,
        title=new.title,
        metadata=new.metadata,
        state=new.state,
        version=1,
        head=branches.end_of(new.messages),
        last_seq=0,
        created_at=now,
        updated_at=now,
        expires_at=new.expires_at,
    )


def update_session(session: Session, changes: SessionChanges, now: float) -> Session:
    """Return the session after a PATCH."""
    return next_version(
        session,
        now,
        title=session.title if changes.title is None else changes.title or None,
        metadata=session.metadata if changes.metadata is None else changes.metadata,
        state=session.state if changes.state is None else changes.state,
    )


def next_version(session: Session, now: float, **changes: Any) -> Session:
    """Return the session at its next version, with these changes."""
    return change_session(session, version=session.version + 1, updated_at=now, **changes)


def end_before(session: Session, prompt: Message | None) -> HistoryEnd:
    """Return the result of undo: the head before the message that began the last turn. Raises: NothingToUndo."""
    if prompt is None:
        raise refusals.nothing_to_undo(session.session_id)
    return HistoryEnd(prompt.parent_id, taken_back=prompt)


def move_head(session: Session, move: HistoryMove, head: str | None) -> tuple[Session, NumberedEvent]:
    """Return the session after a history operation, and the event that tells of it."""
    state = {} if move.operation == "clear" else session.state
    session = next_version(session, move.now, head=head, state=state, last_seq=move.seq)
    return session, NumberedEvent(move.seq, None, HistoryChanged(session.version, move.operation))


def fork(session: Session, new_session_id: str, copies: tuple[Message, ...]) -> NewSession:
    """Return the session to create for a fork: a copy of everything but the turns, with these messages."""
    return NewSession(
        session_id=new_session_id,
        owner=session.owner,
        title=session.title,
        metadata=session.metadata,
        state=session.state,
        messages=copies,
        expires_at=session.expires_at,
    )


# --- turns -------------------------------------------------------------------------------------------------------


def roll_back(session: Session, head: Message | None, turn: Turn | None, place: TurnPlace | None) -> str | None:
    """Return the head without the messages of `turn` if the branch ends with them; else the current head."""
    if head is None or turn is None or place is None or turn.version is None:
        return session.head
    ends_branch = turn.turn_id == head.turn_id or turn.user_message_id == head.message_id
    return place.base_head if ends_branch else session.head


def accept_turn(session: Session, begin: BeginTurn, prompt_id: str) -> tuple[Session, Turn]:
    """Return session and turn after accepting a turn that answers the message `prompt_id`; it runs now, or waits."""
    is_running = begin.status == "running"
    if is_running:
        session = next_version(session, begin.now, head=prompt_id)
    version = session.version if is_running else None
    request, call = begin.request, begin.request.call
    ids = begin.turn_id, request.session_id
    turn = Turn(*ids, call.chat, begin.status, prompt_id, begin.now, version=version, echo=call.echo)
    return session, turn


def is_plain(begin: BeginTurn) -> bool:
    """Whether a turn needs only its session: it has no key and no own history, and names no message or turn."""
    is_seeded = begin.create is not None and bool(begin.create.messages)
    return not is_seeded and begin.request.idempotency is None and follows_head(begin) and not begin.rollback_turn_id


def prompt_of(begin: BeginTurn, parent_id: str | None) -> Message:
    """Return the user message of a turn, linked to the turn and the parent."""
    if begin.user_message is None:
        raise ValueError(f"operation {begin.request.call.operation!r} needs a user message")
    return branches.linked(begin.user_message, begin.turn_id, parent_id)


def replace_history(begin: BeginTurn, stored: Sequence[Message]) -> tuple[Message, ...]:
    """Return the messages to add for a history that the client sent: those not yet `stored`, the user message last."""
    history = begin.request.history or ()
    rows, end = branches.graft(stored, history, branches.common_talk(stored, history))
    return (*rows, prompt_of(begin, end))


def follows_head(begin: BeginTurn) -> bool:
    """Whether a turn goes on from the head of the moment when it starts."""
    call = begin.request.call
    return call.operation == "send" and begin.request.history is None and call.target_message_id is None


def place_at(begin: BeginTurn, target: Message | None, turn: Turn | None) -> tuple[tuple[Message, ...], Message]:
    """Return the messages to add and the one the turn answers. `turn` is the turn that the target belongs to.

    A turn answers its target (retry), a sibling of it (edit), or a child of it (send).

    The message of a queued turn has no place in the tree yet: a message linked to it could become its own ancestor.
    Raises: MessageUnknown, SessionBusy.
    """
    call = begin.request.call
    if target is None or not (call.operation == "send" or branches.is_prompt(target, turn)):
        raise refusals.message_unknown(call.target_message_id)
    if turn is not None and turn.status == "queued":
        refusals.check_idle(begin.request.session_id, turn.turn_id)
    if call.operation == "retry":
        return (), target
    prompt = prompt_of(begin, target.parent_id if call.operation == "edit" else target.message_id)
    return (prompt,), prompt


def start_turn(session: Session, turn: Turn, now: float) -> tuple[Session, Turn]:
    """Return session and turn after a queued turn began to run."""
    session = next_version(session, now, head=turn.user_message_id)
    return session, change_turn(turn, status="running", version=session.version)


def end_turn(session: Session, turn: Turn, commit: CommitTurn) -> tuple[Session, Turn, Done]:
    """Return session, turn and the `done` event after a commit.

    A turn that never began has no version; its end changes neither the branch nor the session's version.
    """
    messages = branches.chain(commit.messages, turn.user_message_id, turn.turn_id)
    last_seq = max(session.last_seq, commit.done_seq)  # a late commit may come after another turn's events
    if turn.version is None:
        after = change_session(session, last_seq=last_seq)
    else:
        after = next_version(
            session,
            commit.now,
            title=session.title if commit.title is None else commit.title or None,
            state=session.state if commit.state is None else commit.state,
            head=branches.end_of(messages, session.head),
            last_seq=last_seq,
        )
    done = Done(commit.turn_id, commit.status, commit.finish_reason, messages, commit.usage, after.version)
    ended = change_turn(
        turn,
        status=commit.status,
        finished_at=commit.now,
        finish_reason=commit.finish_reason,
        usage=commit.usage,
        error=commit.error,
        first_seq=_first_seq(turn, commit),
        done_seq=commit.done_seq,
        version=None if turn.version is None else after.version,
    )
    return after, ended, done


def status_of_prompt(turn: Turn) -> FinalStatus | None:
    """Return the status of the user message of a turn that ended without an answer; None if the function chose it."""
    return None if turn.status in (*TURN_OPEN, "completed") else cast("FinalStatus", turn.status)


def _first_seq(turn: Turn, commit: CommitTurn) -> int:
    known = commit.first_seq or turn.first_seq
    if known is not None:
        return known
    return next((event.seq for event in commit.events if event.turn_id == turn.turn_id), commit.done_seq)


def last_events(session: Session, commit: CommitTurn, done: Done) -> tuple[LogEntry, ...]:
    """Return the entries that a commit adds to the log: the events not stored yet, and `done`."""
    events: Sequence[LogEntry] = commit.events
    if events and not (session.last_seq < events[0].seq and last_seq_of(events[-1]) < commit.done_seq):
        events = [event for event in spelled_out(events) if session.last_seq < event.seq < commit.done_seq]
    return (*events, NumberedEvent(commit.done_seq, commit.turn_id, done))


def unseen_events(session_last_seq: int, events: Sequence[LogEntry]) -> Sequence[LogEntry]:
    """Return the events that are not stored yet."""
    if events and events[0].seq > session_last_seq:
        return events
    return [event for event in spelled_out(events) if event.seq > session_last_seq]


def first_seqs(events: Iterable[LogEntry]) -> dict[str, int]:
    """Return the lowest event number of each turn that has events among these."""
    lowest: dict[str, int] = {}
    for event in events:
        if event.turn_id is not None:
            lowest.setdefault(event.turn_id, event.seq)
    return lowest


# --- crashes and imports -----------------------------------------------------------------------------------------


def merge_events(*sources: Iterable[NumberedEvent]) -> list[NumberedEvent]:
    """Return the events of all sources, each once and in order."""
    by_seq = {event.seq: event for source in sources for event in source}
    return [by_seq[seq] for seq in sorted(by_seq)]


def interrupt_turn(
    session: Session, turn: Turn, events: Sequence[NumberedEvent], done_seq: int, now: float
) -> CommitTurn:
    """Return the commit that ends a turn after a crash, with the answer rebuilt from its stored events."""
    return CommitTurn(
        owner=session.owner,
        session_id=session.session_id,
        turn_id=turn.turn_id,
        now=now,
        status="interrupted",
        finish_reason="interrupted",
        messages=fold_events(events, turn.turn_id, status="interrupted", now=now),
        events=(),
        done_seq=done_seq,
    )


def next_done_seq(session: Session, is_first: bool) -> int:
    """Return the number of a recovered turn's `done` event. The first one in a session comes after a gap."""
    return session.last_seq + (RECOVERY_GAP if is_first else 1)


def imported_turns(record: SessionRecord) -> list[tuple[Turn, TurnPlace]]:
    """Return the turns of a record. Those that were open at the export become interrupted: they run nowhere now."""
    ended_at = record.session.updated_at
    parents = {message.message_id: message.parent_id for message in record.messages}
    turns = (
        change_turn(turn, status="interrupted", finish_reason="interrupted", finished_at=ended_at)
        if turn.status in TURN_OPEN
        else turn
        for turn in record.turns
    )
    return [(turn, TurnPlace(base_head=parents.get(turn.user_message_id or ""))) for turn in turns]


def imported_messages(record: SessionRecord) -> tuple[Message, ...]:
    """Return the messages of a record; those of turns that were open at the export get the status of these turns."""
    prompts = {turn.user_message_id for turn in record.turns if turn.status in TURN_OPEN}
    return tuple(
        branches.change_message(message, status="interrupted") if message.message_id in prompts else message
        for message in record.messages
    )


def last_begun(turns: Iterable[Turn]) -> Turn | None:
    """Return the turn that began last, or None. Turns that never began have no version."""
    return max((turn for turn in turns if turn.version), key=lambda turn: turn.version or 0, default=None)
