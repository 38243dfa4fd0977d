"""Turns that wait for the SQLite store together: written together, answered each for itself."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chatserve.contracts.turns import NewSession
from chatserve.core.errors import LeaseLost, SessionBusy, SessionUnknown, StoreError, VersionConflict
from chatserve.stores.sqlite import SqliteStore, tables
from chatserve.stores.sqlite.jobs import Group, Job, in_groups
from chatserve.stores.sqlite.statements import MAX_ROWS, Statement
from tests.stores.store_values import OWNER, STRANGER, answer, begin, branch_ids, commit, end_turn, run_turn, user


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(f"sqlite:///{tmp_path}/chat.db")
    await store.open(now=1.0)
    yield store
    await store.close()


async def _together(store: SqliteStore, *calls: Coroutine[Any, Any, Any]) -> tuple[list[Any], list[str]]:
    """Make calls one batch; return what each came to, and the statements that were executed for all of them."""
    running, released = threading.Event(), threading.Event()
    statements: list[str] = []

    def hold(db: sqlite3.Connection) -> None:
        running.set()
        released.wait(10)
        db.set_trace_callback(statements.append)

    held = asyncio.ensure_future(store._writer.submit(hold))
    await asyncio.to_thread(running.wait, 10)
    futures = [asyncio.ensure_future(call) for call in calls]
    await asyncio.sleep(0)
    released.set()
    await held
    await asyncio.wait(futures)
    outcomes = [future.exception() or future.result() for future in futures]
    await store._writer.submit(lambda db: db.set_trace_callback(None))
    assert not any(isinstance(future.result(), Exception) for future in futures if future.exception() is None)
    return outcomes, [text for text in statements if text.split()[0] not in {"BEGIN", "COMMIT"}]


async def test_turns_of_sixteen_sessions_take_no_more_statements_than_one(store: SqliteStore) -> None:
    _, alone = await _together(store, store.begin_turn(begin(99, "s_99")))
    _, begun = await _together(store, *(store.begin_turn(begin(n, f"s_{n}")) for n in range(16)))
    _, ended = await _together(
        store, *(store.commit_turn(commit(n, answer(f"a_{n}"), session_id=f"s_{n}", done_seq=1)) for n in range(16))
    )
    _, again = await _together(store, *(store.begin_turn(begin(20 + n, f"s_{n}")) for n in range(16)))
    assert (len(alone), len(begun), len(ended), len(again)) == (4, 4, 5, 4)
    assert await branch_ids(store, "s_7") == ["u_7", "a_7", "u_27"]


async def test_session_with_an_id_of_its_own_is_not_looked_for(store: SqliteStore) -> None:
    fresh = [replace(begin(n, f"s_{n}"), create=NewSession(f"s_{n}", OWNER, is_fresh=True)) for n in range(3)]
    begun, statements = await _together(store, *map(store.begin_turn, fresh))
    assert [outcome.session.version for outcome in begun] == [2, 2, 2]
    assert [text.split()[0] for text in statements] == ["INSERT", "INSERT", "INSERT"]
    with pytest.raises(StoreError):
        await store.begin_turn(replace(fresh[0], turn_id="t_9", user_message=user("u_9")))
    assert (await store.get_session(OWNER, "s_0")).version == 2


@pytest.mark.parametrize(("count", "portions"), [(7, 1), (17, 1), (64, 1), (65, 2), (130, 3)])
async def test_turns_of_many_sessions_take_few_statements(store: SqliteStore, count: int, portions: int) -> None:
    outcomes, begun = await _together(store, *(store.begin_turn(begin(n, f"s_{n}")) for n in range(count)))
    assert [outcome.turn.turn_id for outcome in outcomes] == [f"t_{n}" for n in range(count)]
    assert len(begun) == 4 * portions
    assert [await branch_ids(store, f"s_{n}") for n in range(count)] == [[f"u_{n}"] for n in range(count)]


async def test_turns_of_any_number_are_all_written_as_they_were_told(store: SqliteStore) -> None:
    count = 77
    begun, _ = await _together(store, *(store.begin_turn(begin(n, f"s_{n}")) for n in range(count)))
    ends = [commit(n, answer(f"a_{n}", f"{n}"), session_id=f"s_{n}", done_seq=1, state={"n": n}) for n in range(count)]
    ended, _ = await _together(store, *map(store.commit_turn, ends))
    for n in range(count):
        assert (begun[n].turn.turn_id, begun[n].user_message.message_id) == (f"t_{n}", f"u_{n}")
        record = await store.get_turn(OWNER, f"t_{n}")
        assert (record.turn, record.messages) == (ended[n].turn, ended[n].done.messages)
        assert await store.get_session(OWNER, f"s_{n}") == ended[n].session
        assert ended[n].session.state == {"n": n}


async def test_statements_are_prepared_when_the_store_is_open(store: SqliteStore) -> None:
    def places(statement: Statement) -> set[int]:
        return set(statement._texts)

    powers = {1 << n for n in range(MAX_ROWS.bit_length())}
    assert [places(statement) for statement in tables._FOR_TURNS] == [powers] * len(tables._FOR_TURNS)


async def test_each_turn_of_a_group_is_refused_for_its_own_reason(store: SqliteStore) -> None:
    await run_turn(store, 1)
    await store.begin_turn(begin(2, "s_2"))
    outcomes, _ = await _together(
        store,
        store.begin_turn(begin(10, "s_new")),
        store.begin_turn(begin(11, "s_1", if_version=77)),
        store.begin_turn(begin(12, "s_2")),
        store.begin_turn(begin(13, "s_none", create=None)),
        store.commit_turn(commit(1, session_id="s_3", done_seq=9)),
        store.begin_turn(begin(14, "s_other")),
    )
    kinds = [type(outcome).__name__ for outcome in outcomes]
    refused = [VersionConflict, SessionBusy, SessionUnknown, LeaseLost]
    assert kinds == ["BegunTurn", *(error.__name__ for error in refused), "BegunTurn"]
    assert await branch_ids(store, "s_other") == ["u_14"]
    assert (await store.get_session(OWNER, "s_1")).version == 3


async def test_session_of_another_owner_is_unknown_and_untouched(store: SqliteStore) -> None:
    await run_turn(store, 1)
    outcomes, _ = await _together(
        store,
        store.begin_turn(begin(2, "s_2")),
        store.begin_turn(begin(3, "s_1", owner=STRANGER)),
    )
    assert isinstance(outcomes[1], SessionUnknown)
    assert await branch_ids(store, "s_1") == ["u_1", "a_1"]
    for named in ({"session_id": "s_2", "owner": STRANGER}, {"session_id": "s_1"}):
        with pytest.raises(LeaseLost):
            await store.commit_turn(commit(2, done_seq=1, **named))


async def test_turn_that_cannot_be_written_is_undone_alone(store: SqliteStore) -> None:
    await run_turn(store, 1)
    outcomes, _ = await _together(
        store,
        store.begin_turn(begin(2, "s_2")),
        store.begin_turn(begin(3, "s_3", user_message=user("u_1"))),
        store.begin_turn(begin(4, "s_4")),
    )
    assert isinstance(outcomes[1], StoreError)
    assert [await branch_ids(store, f"s_{n}") for n in (2, 4)] == [["u_2"], ["u_4"]]
    with pytest.raises(SessionUnknown):
        await store.get_session(OWNER, "s_3")


async def test_calls_of_one_session_keep_their_order_among_others(store: SqliteStore) -> None:
    outcomes, _ = await _together(
        store,
        store.begin_turn(begin(1)),
        store.begin_turn(begin(2, "s_2")),
        store.commit_turn(commit(1, answer("a_1"), done_seq=1)),
        store.begin_turn(begin(3)),
        store.commit_turn(commit(2, answer("a_2"), session_id="s_2", done_seq=1)),
        store.begin_turn(begin(4)),
    )
    assert isinstance(outcomes.pop(), SessionBusy)
    assert not any(isinstance(outcome, Exception) for outcome in outcomes)
    assert await branch_ids(store) == ["u_1", "a_1", "u_3"]
    await end_turn(store, 3)


def test_jobs_change_places_only_with_those_of_other_keys() -> None:
    def one(*_: object) -> None: ...

    def other(*_: object) -> None: ...

    def job(operation: Any, name: str, key: str | None) -> Job:
        unused: Any = None
        return Job(operation, (name,), {}, unused, None if key is None else Group(lambda: (), key))

    jobs = [
        job(one, "1", "a"),
        job(other, "2", "b"),
        job(one, "3", "c"),
        job(other, "4", "a"),
        job(other, "5", "b"),
        job(one, "6", None),
        job(other, "7", "e"),
    ]
    groups = [[each.args[0] for each in group] for group in in_groups(jobs)]
    assert groups == [["1", "3"], ["2"], ["4", "5"], ["6"], ["7"]]
    # turns that end right after they began are begun together, then ended together
    jobs = [job(operation, f"{n}{operation.__name__}", f"{n}") for n in range(3) for operation in (one, other)]
    groups = [[each.args[0] for each in group] for group in in_groups(jobs)]
    assert groups == [["0one", "1one", "2one"], ["0other", "1other", "2other"]]
