"""A process that ends at any point of a commit leaves all of an operation behind, or nothing of it."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chatserve.contracts.store import Store
from chatserve.core.errors import SessionUnknown, StoreError, TurnUnknown
from chatserve.stores.sqlite import SqliteStore
from chatserve.stores.sqlite.writer import KILL_VARIABLE
from tests.stores.store_values import OWNER, branch_ids
from tests.support.programs import UNMEASURED

Rows = dict[str, list[tuple[object, ...]]]
IMPORTS = """
import asyncio, os, resource, signal, sys
from chatserve.contracts.store import Purge, SessionChanges
from chatserve.core.events import Delta, NumberedEvent
from chatserve.stores.sqlite import SqliteStore
from chatserve.core.types import Feedback
from tests.stores.store_values import *
"""
SETUP = (
    IMPORTS
    + """
async def main():
    store = SqliteStore("sqlite:///" + sys.argv[1])
    await store.open(now=1.0)
"""
)
OPERATIONS = {
    "create_session": "await store.create_session(new_session('s_new'), now=9.0)",
    "update_session": "await store.update_session(OWNER, 's_1', SessionChanges(title='new'), now=9.0)",
    "delete_session": "await store.delete_session(OWNER, 's_2')",
    "begin_turn": "await store.begin_turn(begin(3))",
    "start_turn": "await store.start_turn(OWNER, 's_3', 't_31', now=9.0)",
    "journal_events": "await store.journal_events([('s_4', [NumberedEvent(1, 't_40', Delta('x'))])], now=9.0,"
    " durable=False)",
    "append_events": "await store.append_events('s_1', [NumberedEvent(2, None, Delta('x'))], now=9.0)",
    "commit_turn": "await store.commit_turn(commit(40, answer('a_40'), done_seq=9, session_id='s_4'))",
    "forget_turn": "await store.forget_turn(OWNER, 't_1')",
    "move_history": "await store.move_history(replacement(9, user('h_1'), answer('h_2')))",
    "fork_session": "await store.fork_session(OWNER, 's_1', message_id=None, new_session_id='s_new',"
    " new_ids=fresh_ids(), now=9.0)",
    "set_feedback": "await store.set_feedback(OWNER, 'a_1', Feedback('like'), now=9.0)",
    "import_session": "await store.import_session(record)",
    "purge": "await store.purge(Purge(now=9.0, events_before=900.0, files_before=900.0))",
}
STATE = """
    await run_turn(store, 1)
    await run_turn(store, 2, 's_2')
    await store.begin_turn(begin(31, 's_3', status='queued'))
    await store.begin_turn(begin(40, 's_4'))
    await run_turn(store, 5, 's_5')
    record = await store.export_session(OWNER, 's_5')
    await store.delete_session(OWNER, 's_5')
"""


FORKS = f"""
async def main(path, name):
    store = SqliteStore("sqlite:///" + path)
    await store.open(now=1.0)
{STATE}
    await globals().get(name, nothing)(store, record)
    os._exit(3)

async def nothing(store, record):
    pass

def fork(path, name, kill_at):
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # none that hangs outlives the test
        os.environ[{KILL_VARIABLE!r}] = kill_at
        asyncio.run(main(path, name))
    return child

for child in [fork(*run.split()) for run in sys.argv[1:]]:
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
Crashed = dict[str, tuple[int, Rows]]


def _run(path: Path, *parts: str, kill_at: str = "") -> subprocess.CompletedProcess[str]:
    script = "".join((SETUP, *parts, "\nasyncio.run(main())\n"))
    return _run_script(script, str(path), kill_at=kill_at)


def _run_script(script: str, *arguments: str, kill_at: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env={**os.environ, **UNMEASURED, KILL_VARIABLE: kill_at, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def _rows(path: Path) -> Rows:
    """Return all that a file holds, and check that the file is sound."""
    db = sqlite3.connect(path)
    try:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")]
        return {table: db.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall() for table in tables}
    finally:
        db.close()


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[list[Store]]:
    stores: list[Store] = []
    yield stores
    for store in stores:
        await store.close()


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> Crashed:
    """Return how each run ended and what it left. Each is a process of its own, forked from one interpreter."""
    folder = tmp_path_factory.mktemp("crashed")
    runs = {"nothing": f"{folder}/nothing.db nothing never"}
    for name in OPERATIONS:
        occurrence = 1 + STATE.count(f".{name}(") + _turns_in_state(name)
        runs[f"{name} told"] = f"{folder}/{name}.told.db {name} never"
        for moment in ("before", "after"):
            runs[f"{name} {moment}"] = f"{folder}/{name}.{moment}.db {name} {name}:{moment}:{occurrence}"
    operations = "".join(f"\nasync def {name}(store, record):\n    {call}\n" for name, call in OPERATIONS.items())
    ended = _run_script(IMPORTS + operations + FORKS, *runs.values())
    assert ended.stderr == ""
    codes = map(int, ended.stdout.split())
    return {
        run: (code, _rows(Path(arguments.split()[0])))
        for (run, arguments), code in zip(runs.items(), codes, strict=True)
    }


@pytest.mark.parametrize("name", OPERATIONS)
def test_kill_around_a_commit_leaves_the_whole_operation_or_nothing(name: str, crashed: Crashed) -> None:
    untouched, told = crashed["nothing"], crashed[f"{name} told"]
    assert (untouched[0], told[0]) == (3, 3)
    assert crashed[f"{name} before"] == (137, untouched[1])
    assert crashed[f"{name} after"] == (137, told[1])
    assert told[1] != untouched[1]


def _turns_in_state(name: str) -> int:
    """Count how often the set-up calls an operation inside `run_turn`."""
    return STATE.count("run_turn(") if name in {"begin_turn", "commit_turn"} else 0


def test_kill_in_recovery_leaves_it_to_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    assert _run(path, STATE, "\n    os._exit(3)").returncode == 3
    crashed = _rows(path)
    assert _run(path, kill_at="recover:before").returncode == 137
    assert _rows(path) == crashed
    assert _run(path, kill_at="recover:after").returncode == 137
    ended = [row for row in _rows(path)["turn"] if row[4] == "interrupted"]
    assert [row[1] for row in ended] == ["t_31", "t_40"]


async def test_what_was_told_is_there_after_a_kill(tmp_path: Path, opened: list[Store]) -> None:
    path = tmp_path / "chat.db"
    turns = "\n    for number in range(1, 99): await run_turn(store, number); print(number, flush=True)"
    killed = await asyncio.to_thread(_run, path, turns, kill_at="commit_turn:before:7")
    assert killed.returncode == 137
    assert killed.stdout.split() == ["1", "2", "3", "4", "5", "6"]
    opened.append(store := SqliteStore(f"sqlite:///{path}"))
    (turn,) = await store.open(now=1000.0)
    assert (turn.turn_id, turn.status) == ("t_7", "interrupted")
    expected = [f"{kind}_{number}" for number in range(1, 7) for kind in "ua"]
    assert await branch_ids(store) == [*expected, "u_7"]
    with pytest.raises(TurnUnknown):
        await store.get_turn(OWNER, "t_8")


def test_disk_that_fails_in_the_commit_is_told_and_survived(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    ended = _run(
        path,
        """
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    await run_turn(store, 1)
    resource.setrlimit(resource.RLIMIT_FSIZE, (os.path.getsize(sys.argv[1] + "-wal") + 5000, resource.RLIM_INFINITY))
    for number in (2, 3):
        try:
            await run_turn(store, number, f"s_{number}", user_message=user(f"u_{number}", "x" * 100_000))
        except Exception as error:
            print(type(error).__name__)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await run_turn(store, 4)
    await store.close()
    print(await store.open(now=5.0), await branch_ids(store))
    await store.close()
""",
    )
    assert ended.stderr == ""
    assert ended.stdout.split("\n")[:2] == ["StoreError", "StoreError"]
    assert "() ['u_1', 'a_1', 'u_4', 'a_4']" in ended.stdout
    assert [row[1] for row in _rows(path)["turn"]] == ["t_1", "t_4"]


async def test_file_left_by_a_killed_process_is_free_at_once(tmp_path: Path, opened: list[Store]) -> None:
    path = tmp_path / "chat.db"
    await asyncio.to_thread(_run, path, "\n    os._exit(3)")
    opened.append(store := SqliteStore(f"sqlite:///{path}"))
    assert await store.open(now=5.0) == ()
    with pytest.raises(SessionUnknown):
        await store.get_session(OWNER, "s_1")


async def test_forked_child_that_outlives_a_killed_server_does_not_keep_the_file(
    tmp_path: Path, opened: list[Store]
) -> None:
    path = tmp_path / "chat.db"
    fork = """
    child = os.fork()
    if child == 0:
        os.close(1), os.close(2)
        signal.pause()
    print(child, flush=True)
    os._exit(3)"""
    killed = await asyncio.to_thread(_run, path, fork)
    child = int(killed.stdout)
    try:
        opened.append(store := SqliteStore(f"sqlite:///{path}"))
        assert await store.open(now=5.0) == ()
    finally:
        os.kill(child, signal.SIGKILL)


async def test_store_that_was_never_opened_is_closed(tmp_path: Path) -> None:
    store = SqliteStore(f"sqlite:///{tmp_path}/chat.db")
    await store.close()
    with pytest.raises(StoreError, match="closed"):
        await store.get_session(OWNER, "s_1")
