"""Operations on turns: begin, start, commit, read. Each runs in a transaction of its own.

Turns of different sessions begin and end together: with as many statements for all of them as for one.
"""

from __future__ import annotations

from collections.abc import Sequence
from sqlite3 import Connection
from typing import NamedTuple, TypeVar

from chatserve.contracts.turns import (
    TURN_OPEN,
    BeginTurn,
    BegunTurn,
    CommittedTurn,
    CommitTurn,
    Idempotency,
    TurnRecord,
)
from chatserve.core.errors import ChatserveError, LeaseLost
from chatserve.core.events import Done
from chatserve.core.frozen import replace
from chatserve.core.types import Message, Session, Turn
from chatserve.stores import branches as trees
from chatserve.stores import refusals, transitions
from chatserve.stores.sqlite import rows, sessions, tables
from chatserve.stores.transitions import TurnPlace

T = TypeVar("T")


class _Accepted(NamedTuple):
    """An accepted turn before it is written. `added` are the messages it adds, including its own."""

    session: Session
    turn: Turn
    place: TurnPlace
    prompt: Message
    added: tuple[Message, ...]
    is_first: bool


class _Ended(NamedTuple):
    """The end of a turn, before it is written."""

    commit: CommitTurn
    before: Session
    session: Session
    turn: Turn
    done: Done


def begin_turn(db: Connection, begin: BeginTurn) -> BegunTurn:
    """Accept a turn. Raises: see `Store.begin_turn`."""
    return _only(begin_turns(db, [begin]))


def _only(outcomes: Sequence[T | ChatserveError]) -> T:
    (outcome,) = outcomes
    if isinstance(outcome, ChatserveError):
        raise outcome
    return outcome


def begin_turns(db: Connection, begins: Sequence[BeginTurn]) -> list[BegunTurn | ChatserveError]:
    """Accept plain turns of different sessions, or one turn of any kind. A refused turn's outcome is its error."""
    found = tables.find_sessions_and_open(
        db, [begin.request.session_id for begin in begins if begin.create is None or not begin.create.is_fresh]
    )
    outcomes = [_accept(db, begin, found.get(begin.request.session_id)) for begin in begins]
    _write(db, [outcome for outcome in outcomes if isinstance(outcome, _Accepted)])
    for begin, outcome in zip(begins, outcomes, strict=True):
        if begin.request.idempotency is not None and isinstance(outcome, _Accepted):
            tables.save_key(db, begin.request.owner, begin.request.idempotency, turn_id=begin.turn_id)
    return [
        BegunTurn(outcome.session, outcome.turn, outcome.prompt) if isinstance(outcome, _Accepted) else outcome
        for outcome in outcomes
    ]


def _accept(
    db: Connection, begin: BeginTurn, found: tuple[Session, str | None] | None
) -> _Accepted | BegunTurn | ChatserveError:
    try:
        key = begin.request.idempotency
        if key is not None and (replayed := _replay(db, begin, key)) is not None:
            return replayed
        session, open_turn_id, is_first = _session_for(db, begin, found)
        refusals.check_version(session, begin.request.call.if_version)
        if begin.status == "queued":
            place = TurnPlace(transitions.follows_head(begin), begin.rollback_turn_id)
        else:
            refusals.check_idle(begin.request.session_id, open_turn_id)
            place = TurnPlace(base_head=_roll_back(db, session, begin.rollback_turn_id))
        added, prompt = _place(db, session, begin, place.base_head)
    except ChatserveError as error:
        return error
    session, turn = transitions.accept_turn(session, begin, prompt.message_id)
    return _Accepted(session, turn, place, prompt, added, is_first)


def _session_for(
    db: Connection, begin: BeginTurn, found: tuple[Session, str | None] | None
) -> tuple[Session, str | None, bool]:
    """Return the session of a turn, the id of its open turn, and whether the session still has to be written."""
    if found is not None and found[0].owner == begin.request.owner:
        return *found, False
    if begin.create is None or found is not None:
        raise refusals.session_unknown(begin.request.session_id)
    if begin.create.messages:
        return sessions.create_session(db, begin.create, now=begin.now), None, False
    return transitions.create_session(begin.create, begin.now), None, True


def _replay(db: Connection, begin: BeginTurn, idempotency: Idempotency) -> BegunTurn | None:
    """Return the turn that this key made before, or None."""
    row = db.execute(
        "SELECT body_hash, turn.* FROM idempotency LEFT JOIN turn USING (turn_id)"
        " WHERE owner = ? AND key = ? AND expires_at > ?",
        (begin.request.owner, idempotency.key, begin.now),
    ).fetchone()
    if row is None:
        return None
    refusals.check_key(idempotency, row[0] if row[1] is not None else None)
    turn = rows.turn_of(row[1:])
    prompt = tables.find_message(db, turn.session_id, turn.user_message_id)
    session = tables.get_session(db, begin.request.owner, turn.session_id)
    return BegunTurn(session, turn, prompt, replayed=True)


def _place(db: Connection, session: Session, begin: BeginTurn, head: str | None) -> tuple[tuple[Message, ...], Message]:
    """Return the messages to add and the message the turn answers. A turn that follows the head follows `head`."""
    if transitions.follows_head(begin):
        prompt = transitions.prompt_of(begin, head)
        return (prompt,), prompt
    if begin.request.call.operation == "send" and begin.request.history is not None:
        added = transitions.replace_history(begin, tables.read_branch(db, session.session_id, session.head))
        return added, added[-1]
    named = begin.request.call.target_message_id
    found = tables.find_prompt(db, session) if named is None else tables.find_message(db, session.session_id, named)
    return transitions.place_at(begin, found, tables.turn_of_message(db, found))


def _roll_back(db: Connection, session: Session, turn_id: str | None) -> str | None:
    """Return the head of the branch without the messages of a turn."""
    if turn_id is None or (found := tables.find_turn(db, session.session_id, turn_id)) is None:
        return session.head
    head = tables.find_message(db, session.session_id, session.head)
    return transitions.roll_back(session, head, *found)


def _write(db: Connection, accepted: Sequence[_Accepted]) -> None:
    tables.insert_sessions(db, [each.session for each in accepted if each.is_first])
    tables.save_progress(db, [each.session for each in accepted if each.turn.version and not each.is_first])
    tables.add_messages(db, *[(each.session, each.added) for each in accepted])
    tables.insert_turns(db, [(each.turn, each.place, None) for each in accepted])


def start_turn(db: Connection, owner: str, session_id: str, turn_id: str, *, now: float) -> BegunTurn:
    """Start a queued turn. Raises: TurnUnknown, SessionBusy."""
    before, turn, place = _find(db, owner, session_id, turn_id)
    if turn.status != "queued":
        raise refusals.turn_unknown(turn_id)
    refusals.check_idle(session_id, tables.running_turn_id(db, session_id))
    prompt = tables.find_message(db, session_id, turn.user_message_id)
    if prompt is None:
        raise refusals.turn_unknown(turn_id)
    head = _roll_back(db, before, place.rollback_turn_id)
    if place.follows_head and head is not None:
        prompt = replace(prompt, parent_id=head)
        tables.set_parent(db, prompt)
    session, turn = transitions.start_turn(before, turn, now)
    tables.save_progress(db, [session])
    db.execute(
        "UPDATE turn SET status = 'running', version = ?, follows_head = 0, rollback_turn_id = NULL, base_head = ?"
        " WHERE turn_id = ?",
        (turn.version, head, turn_id),
    )
    return BegunTurn(session, turn, prompt)


def _find(db: Connection, owner: str, session_id: str, turn_id: str) -> tuple[Session, Turn, TurnPlace]:
    found = tables.find_turns(db, [turn_id]).get(turn_id)
    if found is None or (found[0].owner, found[0].session_id) != (owner, session_id):
        raise refusals.turn_unknown(turn_id)
    return found


def commit_turn(db: Connection, commit: CommitTurn) -> CommittedTurn:
    """End a turn: answer, status, version and end of log. Raises: LeaseLost."""
    return _only(commit_turns(db, [commit]))


def commit_turns(db: Connection, commits: Sequence[CommitTurn]) -> list[CommittedTurn | ChatserveError]:
    """End turns of different sessions. The outcome of a turn that is not open is `LeaseLost`."""
    found = tables.find_turns(db, [commit.turn_id for commit in commits])
    outcomes = [_end(commit, found.get(commit.turn_id)) for commit in commits]
    _write_ends(db, [outcome for outcome in outcomes if isinstance(outcome, _Ended)])
    return [
        CommittedTurn(outcome.session, outcome.turn, outcome.done) if isinstance(outcome, _Ended) else outcome
        for outcome in outcomes
    ]


def _end(commit: CommitTurn, found: tuple[Session, Turn, TurnPlace] | None) -> _Ended | LeaseLost:
    if found is None:
        return refusals.lease_lost(commit.turn_id)
    before, turn, _ = found
    is_own = before.owner == commit.owner and before.session_id == commit.session_id
    if not is_own or turn.status not in TURN_OPEN:
        return refusals.lease_lost(commit.turn_id)
    return _Ended(commit, before, *transitions.end_turn(before, turn, commit))


def _write_ends(db: Connection, ended: Sequence[_Ended]) -> None:
    tables.save_sessions(db, [each.session for each in ended if _changes_more(each.before, each.session)])
    tables.save_progress(db, [each.session for each in ended if not _changes_more(each.before, each.session)])
    tables.add_messages(db, *[(each.session, each.done.messages) for each in ended])
    for each in ended:
        if not each.done.messages:
            tables.set_status(db, each.turn.user_message_id, transitions.status_of_prompt(each.turn))
    tables.add_segments(
        db,
        [
            (each.session.session_id, transitions.last_events(each.before, each.commit, each.done), each.commit.now)
            for each in ended
        ],
    )
    tables.save_ends(db, [(each.turn, trees.end_of(each.done.messages)) for each in ended])


def _changes_more(before: Session, session: Session) -> bool:
    """Whether a turn changed the state or title of its session, which only chat functions change."""
    return session.state is not before.state or session.title != before.title


def get_turn(db: Connection, owner: str, turn_id: str) -> TurnRecord:
    """Return a turn with its messages. Raises: TurnUnknown."""
    return _record(db, _get_row(db, owner, turn_id))


def _get_row(db: Connection, owner: str, turn_id: str) -> rows.Row:
    query = "SELECT turn.* FROM turn JOIN session USING (session_id) WHERE turn_id = ? AND owner = ?"
    return tables.get(db, query, (turn_id, owner), refusals.turn_unknown(turn_id))


def last_turn(db: Connection, owner: str, session_id: str) -> TurnRecord | None:
    """Return the turn that began last, or None. Raises: SessionUnknown."""
    tables.get_session(db, owner, session_id)
    row = db.execute(
        "SELECT * FROM turn WHERE session_id = ? AND version IS NOT NULL ORDER BY version DESC LIMIT 1", (session_id,)
    ).fetchone()
    return None if row is None else _record(db, row)


def _record(db: Connection, row: rows.Row) -> TurnRecord:
    turn, answer_end_id = rows.turn_of(row), row[rows.ANSWER_END]
    answer: list[Message] = []
    for message in tables.newest_first(db, turn.session_id, answer_end_id):
        if message.message_id == turn.user_message_id or message.turn_id != turn.turn_id:
            break
        answer.insert(0, message)
    return TurnRecord(turn, tables.find_message(db, turn.session_id, turn.user_message_id), tuple(answer))


def forget_turn(db: Connection, owner: str, turn_id: str) -> int:
    """Remove a turn that has ended, and its key; return the number of turns left. Raises: TurnUnknown, SessionBusy."""
    turn = rows.turn_of(_get_row(db, owner, turn_id))
    refusals.check_ended(turn)
    db.execute("UPDATE message SET turn_id = NULL WHERE session_id = ? AND turn_id = ?", (turn.session_id, turn_id))
    db.execute("DELETE FROM turn WHERE turn_id = ?", (turn_id,))
    (left,) = db.execute("SELECT count(*) FROM turn WHERE session_id = ?", (turn.session_id,)).fetchone()
    return int(left)
