"""Operations on turns: begin, start, commit, read. Each runs in a transaction of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from sqlite3 import Connection

from chatserve.contracts import BeginTurn, BegunTurn, CommittedTurn, CommitTurn, Idempotency, TurnRecord
from chatserve.errors import SessionUnknown
from chatserve.stores import transitions
from chatserve.stores.sqlite import rows, sessions, tables
from chatserve.stores.transitions import TurnPlace
from chatserve.types import Message, Session, Turn


@dataclass(frozen=True, slots=True)
class _Standing:
    """A turn with all around it, before it is written."""

    session: Session
    turn: Turn
    place: TurnPlace
    prompt: Message


def begin_turn(db: Connection, begin: BeginTurn) -> BegunTurn:
    """Accept a turn. Raises: see `Store.begin_turn`."""
    if begin.idempotency is not None and (replayed := _replay(db, begin, begin.idempotency)) is not None:
        return replayed
    session, open_turn_id = _session_for(db, begin)
    transitions.check_version(session, begin.if_version)
    if begin.status == "running":
        transitions.check_idle(begin.session_id, open_turn_id)
    before, prompt, follows_head = _place(db, session, begin)
    place = TurnPlace(follows_head, begin.rollback_turn_id)
    standing = _Standing(session, transitions.accept_turn(begin, prompt), place, prompt)
    if begin.status == "running":
        standing = _join(db, standing, begin.now)
        tables.save_progress(db, standing.session)
    tables.add_messages(db, session, before if begin.operation == "retry" else (*before, standing.prompt))
    tables.insert_turn(db, standing.turn, standing.place)
    if begin.idempotency is not None:
        _keep_key(db, begin, begin.idempotency)
    return _begun(standing)


def _replay(db: Connection, begin: BeginTurn, idempotency: Idempotency) -> BegunTurn | None:
    """Return the turn this key made before, or None."""
    row = db.execute(
        "SELECT body_hash, turn.* FROM idempotency LEFT JOIN turn USING (turn_id)"
        " WHERE owner = ? AND key = ? AND expires_at > ?",
        (begin.owner, idempotency.key, begin.now),
    ).fetchone()
    if row is None:
        return None
    transitions.check_key(idempotency, row[0] if row[1] is not None else None)
    turn = rows.turn_of(row[1:])
    prompt = tables.find_message(db, turn.session_id, turn.user_message_id)
    session = tables.get_session(db, begin.owner, turn.session_id)
    return BegunTurn(session, turn, prompt, None if prompt is None else prompt.parent_id, replayed=True)


def _session_for(db: Connection, begin: BeginTurn) -> tuple[Session, str | None]:
    try:
        return tables.get_session_and_open(db, begin.owner, begin.session_id)
    except SessionUnknown:
        if begin.create is None or tables.has_session(db, begin.session_id):
            raise
        return sessions.create_session(db, begin.create, now=begin.now), None


def _place(db: Connection, session: Session, begin: BeginTurn) -> tuple[tuple[Message, ...], Message, bool]:
    """Return the rows to add before the user message, that message, and whether it follows the head of its time."""
    if transitions.follows_head(begin):
        return (), transitions.prompt_of(begin, None), True
    if begin.operation == "send" and begin.history is not None:
        *before, prompt = transitions.replace_history(begin, tables.read_branch(db, session.session_id, session.head))
        return tuple(before), prompt, False
    named = begin.target_message_id
    found = tables.find_prompt(db, session) if named is None else tables.find_message(db, session.session_id, named)
    target = transitions.check_target(begin, found, tables.turn_of_message(db, found))
    return (), transitions.prompt_at(begin, target), False


def _join(db: Connection, standing: _Standing, now: float) -> _Standing:
    """Let a turn run: its user message joins the branch."""
    place, prompt = standing.place, standing.prompt
    head = _roll_back(db, standing.session, place.rollback_turn_id)
    if place.follows_head and head is not None:
        prompt = replace(prompt, parent_id=head)
    session, turn = transitions.start_turn(standing.session, standing.turn, now)
    return _Standing(session, turn, TurnPlace(base_head=head), prompt)


def _roll_back(db: Connection, session: Session, turn_id: str | None) -> str | None:
    """Return the head of the branch without the messages of this turn."""
    if turn_id is None or (found := tables.find_turn(db, session.session_id, turn_id)) is None:
        return session.head
    head = tables.find_message(db, session.session_id, session.head)
    return transitions.roll_back(session, head, *found)


def _keep_key(db: Connection, begin: BeginTurn, idempotency: Idempotency) -> None:
    db.execute(
        "INSERT OR REPLACE INTO idempotency (owner, key, body_hash, turn_id, expires_at) VALUES (?, ?, ?, ?, ?)",
        (begin.owner, idempotency.key, idempotency.body_hash, begin.turn_id, idempotency.expires_at),
    )


def _begun(standing: _Standing) -> BegunTurn:
    return BegunTurn(standing.session, standing.turn, standing.prompt, standing.prompt.parent_id)


def start_turn(db: Connection, owner: str, session_id: str, turn_id: str, *, now: float) -> BegunTurn:
    """Let a queued turn run. Raises: TurnUnknown, SessionBusy."""
    found = _find(db, owner, session_id, turn_id)
    if found is None or found[1].status != "queued":
        raise transitions.turn_unknown(turn_id)
    transitions.check_idle(session_id, tables.running_turn_id(db, session_id))
    session, turn, place = found
    prompt = tables.find_message(db, session_id, turn.user_message_id)
    if prompt is None:
        raise transitions.turn_unknown(turn_id)
    standing = _join(db, _Standing(session, turn, place, prompt), now)
    tables.save_progress(db, standing.session)
    tables.set_parent(db, standing.prompt)
    db.execute(
        "UPDATE turn SET status = 'running', version = ?, follows_head = 0, rollback_turn_id = NULL, base_head = ?"
        " WHERE turn_id = ?",
        (standing.turn.version, standing.place.base_head, turn_id),
    )
    return _begun(standing)


def _find(db: Connection, owner: str, session_id: str, turn_id: str) -> tuple[Session, Turn, TurnPlace] | None:
    row = db.execute(
        "SELECT session.*, turn.* FROM turn JOIN session USING (session_id)"
        " WHERE turn_id = ? AND session_id = ? AND owner = ?",
        (turn_id, session_id, owner),
    ).fetchone()
    if row is None:
        return None
    turn_row = row[rows.SESSION_WIDTH :]
    return rows.session_of(row), rows.turn_of(turn_row), rows.place_of(turn_row)


def commit_turn(db: Connection, commit: CommitTurn) -> CommittedTurn:
    """End a turn: answer, status, version and end of log. Raises: LeaseLost."""
    found = _find(db, commit.owner, commit.session_id, commit.turn_id)
    if found is None or found[1].status not in {"queued", "running"}:
        raise transitions.lease_lost(commit.turn_id)
    before = found[0]
    session, turn, done = transitions.end_turn(before, found[1], commit)
    if session.state is before.state and session.title == before.title:
        tables.save_progress(db, session)
    else:
        tables.save_session(db, session)
    tables.add_messages(db, session, done.messages)
    tables.add_segment(db, commit.session_id, transitions.last_events(before, commit, done), commit.now)
    _save_end(db, turn, done.messages[-1].message_id if done.messages else None)
    return CommittedTurn(session, turn, done)


def _save_end(db: Connection, turn: Turn, answer_end_id: str | None) -> None:
    db.execute(
        "UPDATE turn SET status = ?, finished_at = ?, finish_reason = ?, usage = ?, error = ?, first_seq = ?,"
        " done_seq = ?, version = ?, answer_end_id = ? WHERE turn_id = ?",
        (
            turn.status,
            turn.finished_at,
            turn.finish_reason,
            rows.usage_text(turn),
            rows.error_text(turn),
            turn.first_seq,
            turn.done_seq,
            turn.version,
            answer_end_id,
            turn.turn_id,
        ),
    )


def get_turn(db: Connection, owner: str, turn_id: str) -> TurnRecord:
    """Return a turn with its messages. Raises: TurnUnknown."""
    return _record(db, _get_row(db, owner, turn_id))


def _get_row(db: Connection, owner: str, turn_id: str) -> rows.Row:
    row: rows.Row | None = db.execute(
        "SELECT turn.* FROM turn JOIN session USING (session_id) WHERE turn_id = ? AND owner = ?", (turn_id, owner)
    ).fetchone()
    if row is None:
        raise transitions.turn_unknown(turn_id)
    return row


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
    """Remove a turn that is over, and its key with it; return how many are left. Raises: TurnUnknown, SessionBusy."""
    turn = rows.turn_of(_get_row(db, owner, turn_id))
    transitions.check_ended(turn)
    db.execute("UPDATE message SET turn_id = NULL WHERE session_id = ? AND turn_id = ?", (turn.session_id, turn_id))
    db.execute("DELETE FROM turn WHERE turn_id = ?", (turn_id,))
    (left,) = db.execute("SELECT count(*) FROM turn WHERE session_id = ?", (turn.session_id,)).fetchone()
    return int(left)
