"""When the SQLite store's thread is handed what waits for it: a loop that is busy makes more to share the commit."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chatserve.contracts.turns import Idempotency
from chatserve.core.errors import LeaseLost
from chatserve.stores.sqlite import SqliteStore, open_turns, turns
from chatserve.stores.sqlite import writer as writer_module
from chatserve.stores.sqlite.database import Database
from chatserve.stores.sqlite.jobs import Group, Job
from chatserve.stores.sqlite.writer import GATHER_S, GATHER_TURNS, IDLE_S, MAX_GATHER_S, PATIENCE_S, Writer
from tests.stores.store_values import begin, branch_ids, commit


class Loop:
    """An event loop that turns when it is told to, after as many seconds as it is told."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._soon: list[Callable[[], None]] = []
        self.later: list[tuple[float, Callable[[], None]]] = []

    def call_soon(self, callback: Callable[..., None], *args: Any) -> None:
        self._soon.append(lambda: callback(*args))

    def call_later(self, after_s: float, callback: Callable[[], None]) -> None:
        self.later.append((self.now + after_s, callback))

    def turn(self, *, after_s: float) -> None:
        self.now += after_s
        due = [timer for timer in self.later if timer[0] <= self.now]
        self.later = [timer for timer in self.later if timer not in due]
        for _, callback in due:
            callback()
        soon, self._soon = self._soon, []
        for callback in soon:
            callback()

    @property
    def looks(self) -> bool:
        """True while somebody wants to know what it does."""
        return bool(self._soon)


TURNS = Group(lambda: (), "s_1")

BUSY_S = GATHER_S / 4
"""A turn of a busy loop."""


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Loop:
    loop = Loop()
    monkeypatch.setattr(writer_module, "monotonic", lambda: loop.now)
    return loop


@pytest.fixture
def writer(tmp_path: Path) -> Writer:
    """A writer whose thread was not started, so that what it is handed stays in its queue."""
    writer = Writer(Database(tmp_path / "chat.db"))
    writer._is_open = True
    return writer


def submit(writer: Writer, loop: Any, count: int = 1, group: Group | None = TURNS, *, is_patient: bool = False) -> None:
    unused: Any = None
    for _ in range(count):
        writer._put(Job(print, (), {}, unused, loop, group, is_patient=is_patient))


def test_lone_operation_is_handed_over_as_soon_as_the_loop_has_turned(writer: Writer, loop: Loop) -> None:
    for n in range(5):
        submit(writer, loop)
        loop.turn(after_s=IDLE_S / 2)
        assert writer._jobs.qsize() == n + 1
        assert not loop.looks


def test_operations_of_a_busy_loop_are_handed_over_together(writer: Writer, loop: Loop) -> None:
    for _ in range(3):
        submit(writer, loop, 2)
        loop.turn(after_s=BUSY_S)
        assert (writer._jobs.qsize(), loop.looks) == (0, True)
    loop.turn(after_s=2 * BUSY_S)
    assert (writer._jobs.qsize(), loop.looks) == (6, False)


def test_operations_of_a_loop_that_is_full_wait_for_several_of_its_turns(writer: Writer, loop: Loop) -> None:
    for _ in range(GATHER_TURNS - 1):
        submit(writer, loop)
        loop.turn(after_s=1.5 * GATHER_S)
        assert (writer._jobs.qsize(), loop.looks) == (0, True)
    loop.turn(after_s=1.5 * GATHER_S)
    assert (writer._jobs.qsize(), loop.looks) == (GATHER_TURNS - 1, False)


def test_operations_do_not_wait_for_turns_that_take_too_long(writer: Writer, loop: Loop) -> None:
    submit(writer, loop)
    loop.turn(after_s=1.1 * MAX_GATHER_S)
    assert (writer._jobs.qsize(), loop.looks) == (1, False)


def test_operations_are_handed_over_when_a_busy_loop_has_nothing_else_to_do(writer: Writer, loop: Loop) -> None:
    submit(writer, loop)
    loop.turn(after_s=BUSY_S)
    submit(writer, loop, 3)
    loop.turn(after_s=BUSY_S)
    assert writer._jobs.qsize() == 0
    loop.turn(after_s=IDLE_S / 2)
    assert writer._jobs.qsize() == 4
    assert not loop.looks


def test_operation_of_another_kind_waits_for_nothing_and_takes_along_what_does(writer: Writer, loop: Loop) -> None:
    submit(writer, loop)
    loop.turn(after_s=BUSY_S)
    submit(writer, loop, 2)
    submit(writer, loop, group=None)
    assert [job.group for job in (writer._jobs.get() for _ in range(4)) if job] == [TURNS, TURNS, TURNS, None]
    loop.turn(after_s=BUSY_S)
    assert not loop.looks


def test_patient_operations_wait_for_others_though_the_loop_has_nothing_else_to_do(writer: Writer, loop: Loop) -> None:
    for _ in range(3):
        submit(writer, loop, is_patient=True)
        loop.turn(after_s=PATIENCE_S / 4)
        assert (writer._jobs.qsize(), loop.looks) == (0, False)
    loop.turn(after_s=PATIENCE_S / 2)
    assert (writer._jobs.qsize(), loop.later) == (3, [])
    submit(writer, loop, is_patient=True)
    loop.turn(after_s=PATIENCE_S)
    assert writer._jobs.qsize() == 4


def test_patient_operations_go_along_with_one_that_is_not(writer: Writer, loop: Loop) -> None:
    submit(writer, loop, 2, is_patient=True)
    loop.turn(after_s=IDLE_S / 2)
    submit(writer, loop)
    loop.turn(after_s=IDLE_S / 2)
    assert writer._jobs.qsize() == 3
    submit(writer, loop, is_patient=True)
    loop.turn(after_s=PATIENCE_S)
    assert (writer._jobs.qsize(), loop.later) == (4, [])


async def test_ends_wait_for_one_another_where_many_turns_are_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_turns, "MANY_OPEN", 3)
    store = SqliteStore(f"sqlite:///{tmp_path}/chat.db")
    await store.open(now=1.0)
    for n in range(4):
        await store.begin_turn(begin(n, f"s_{n}"))
    commits = [commit(n, session_id=f"s_{n}", done_seq=5) for n in range(4)]
    ending = [asyncio.ensure_future(store.commit_turn(each)) for each in commits[:2]]
    await asyncio.sleep(0)
    assert [job.is_patient for job in store._writer._gathered] == [True, True]
    ending.append(asyncio.ensure_future(store.commit_turn(commits[2])))  # fewer are left to wait for
    await asyncio.sleep(0)
    assert [job.is_patient for job in store._writer._gathered] == [True, True, False]
    committed = await asyncio.gather(*ending)
    assert [each.turn.status for each in committed] == ["completed"] * 3
    await store.close()


async def test_turn_that_is_begun_again_or_ended_twice_is_counted_once(tmp_path: Path) -> None:
    store = SqliteStore(f"sqlite:///{tmp_path}/chat.db")
    await store.open(now=1.0)
    key = Idempotency("key", "hash", 1000.0)
    first, other = begin(1, "s_1", idempotency=key), begin(2, "s_2")
    again = begin(3, "s_1", idempotency=key)
    assert [(await store.begin_turn(each)).replayed for each in (first, again, other)] == [False, True, False]
    assert len(store._open_turns) == 2
    end = commit(1, session_id="s_1", done_seq=5)
    await store.commit_turn(end)
    with pytest.raises(LeaseLost):
        await store.commit_turn(end)
    assert len(store._open_turns) == 1
    assert store._open_turns.ending == 0
    await store.close()


async def test_turn_whose_end_was_written_though_that_seemed_to_fail_is_open_no_more(tmp_path: Path) -> None:
    store = SqliteStore(f"sqlite:///{tmp_path}/chat.db")
    await store.open(now=1.0)
    await store.begin_turn(begin(1, "s_1"))
    end = commit(1, session_id="s_1", done_seq=5)
    await store._writer.submit(turns.commit_turn, end)  # as if the disk had it, and the answer was an error
    with pytest.raises(LeaseLost):
        await store.commit_turn(end)
    assert (len(store._open_turns), store._open_turns.ending) == (0, 0)
    await store.close()


async def test_what_was_gathered_when_the_store_is_closed_is_written(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/chat.db"
    store = SqliteStore(url)
    await store.open(now=1.0)
    beginning = [asyncio.ensure_future(store.begin_turn(begin(n, f"s_{n}"))) for n in range(3)]
    await asyncio.sleep(0)
    assert len(store._writer._gathered) == 3
    await store.close()
    await asyncio.gather(*beginning)
    again = SqliteStore(url)
    await again.open(now=2.0)
    assert [await branch_ids(again, f"s_{n}") for n in range(3)] == [["u_0"], ["u_1"], ["u_2"]]
    await again.close()
