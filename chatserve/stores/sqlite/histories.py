"""Operations on histories: read, page, undo, clear, replace, fork, feedback. Each runs in a transaction of its own."""

from __future__ import annotations

from collections.abc import Callable
from sqlite3 import Connection

from chatserve.contracts.store import HistoryMove, MovedHistory, Page
from chatserve.core.frozen import replace
from chatserve.core.types import Feedback, Message, Session
from chatserve.stores import branches as trees
from chatserve.stores import refusals, transitions
from chatserve.stores.sqlite import rows, sessions, tables
from chatserve.stores.transitions import HistoryEnd


def get_message(db: Connection, owner: str, message_id: str) -> Message:
    """Return one message. Raises: MessageUnknown."""
    query = "SELECT message.* FROM message JOIN session USING (session_id) WHERE message_id = ? AND owner = ?"
    return rows.message_of(tables.get(db, query, (message_id, owner), refusals.message_unknown(message_id)))


def read_branch(db: Connection, owner: str, session_id: str, head: str | None) -> tuple[Message, ...]:
    """Return the messages from the first to `head`. Raises: SessionUnknown, MessageUnknown."""
    tables.get_session(db, owner, session_id)
    found = tables.read_branch(db, session_id, head)
    if head is not None and not found:
        raise refusals.message_unknown(head)
    return found


def list_messages(
    db: Connection, owner: str, session_id: str, *, after: str | None, limit: int, branches: bool
) -> Page:
    """Page through the current branch, or through all messages. Raises: SessionUnknown, MessageUnknown."""
    session = tables.get_session(db, owner, session_id)
    found = _page_of_all(db, session, after, limit + 1) if branches else _page_of_branch(db, session, after, limit + 1)
    return Page(found[:limit], found[limit - 1].message_id if len(found) > limit else None)


def _page_of_all(db: Connection, session: Session, after: str | None, limit: int) -> tuple[Message, ...]:
    found = db.execute(
        "SELECT * FROM message WHERE session_id = ? AND n > ? ORDER BY n LIMIT ?",
        (session.session_id, 0 if after is None else _number_of(db, session, after), limit),
    )
    return tuple(map(rows.message_of, found))


def _number_of(db: Connection, session: Session, message_id: str) -> int:
    query = "SELECT n FROM message WHERE message_id = ? AND session_id = ?"
    (n,) = tables.get(db, query, (message_id, session.session_id), refusals.message_unknown(message_id))
    return int(n)


def _page_of_branch(db: Connection, session: Session, after: str | None, limit: int) -> tuple[Message, ...]:
    ids = db.execute(
        tables.BRANCH + " SELECT message_id, n FROM branch ORDER BY depth DESC",  # noqa: S608 constants
        (session.head, session.session_id),
    ).fetchall()
    places = {message_id: place for place, (message_id, _) in enumerate(ids)}
    if after is not None and after not in places:
        raise refusals.message_unknown(after)
    start = 0 if after is None else places[after] + 1
    numbers = [n for _, n in ids[start : start + limit]]
    found = db.execute("SELECT * FROM message WHERE n IN (SELECT value FROM json_each(?))", (rows.text(numbers),))
    return tuple(sorted(map(rows.message_of, found), key=lambda message: places[message.message_id]))


def move_history(db: Connection, move: HistoryMove) -> MovedHistory:
    """Undo, clear or replace. Raises: see `Store.move_history`."""
    session, open_turn_id = tables.get_session_and_open(db, move.owner, move.session_id)
    refusals.check_version(session, move.if_version)
    refusals.check_idle(move.session_id, open_turn_id)
    end = _end_of(db, session, move)
    session, event = transitions.move_head(session, move, end.head)
    tables.save_sessions(db, [session])
    tables.add_messages(db, (session, end.added))
    tables.add_segments(db, [(move.session_id, [event], move.now)])
    return MovedHistory(session, end.taken_back)


def _end_of(db: Connection, session: Session, move: HistoryMove) -> HistoryEnd:
    """Return the result of a history operation. Raises: NothingToUndo, InputsInvalid."""
    if move.operation == "undo":
        return transitions.end_before(session, tables.find_prompt(db, session))
    if move.operation == "clear" and not move.messages:
        return HistoryEnd(None)
    stored = tables.read_branch(db, session.session_id, session.head)
    added, head = trees.graft(stored, move.messages, trees.common_start(stored, move.messages))
    refusals.check_new(added, tables.taken_ids(db, added))
    return HistoryEnd(head, added)


def fork_session(
    db: Connection,
    owner: str,
    session_id: str,
    *,
    message_id: str | None,
    new_session_id: str,
    new_ids: Callable[[], str],
    now: float,
) -> Session:
    """Copy a branch into a new session. Raises: SessionUnknown, MessageUnknown, SessionExists."""
    session = tables.get_session(db, owner, session_id)
    branch = read_branch(db, owner, session_id, message_id or session.head)
    new = transitions.fork(session, new_session_id, trees.copy_branch(branch, new_ids))
    return sessions.create_session(db, new, now=now)


def set_feedback(
    db: Connection, owner: str, message_id: str, feedback: Feedback, *, now: float, if_version: int | None = None
) -> tuple[Session, Message]:
    """Set the feedback of an answer message. Raises: MessageUnknown, VersionConflict."""
    query = (
        "SELECT session.*, message.* FROM message JOIN session USING (session_id)"
        " WHERE message_id = ? AND owner = ? AND role <> 'user'"
    )
    row = tables.get(db, query, (message_id, owner), refusals.message_unknown(message_id))
    current, message = rows.session_of(row), rows.message_of(row[rows.SESSION_WIDTH :])
    refusals.check_version(current, if_version)
    session = transitions.next_version(current, now)
    tables.save_progress(db, [session])
    message = replace(message, feedback=feedback)
    tables.save_feedback(db, message)
    return session, message
