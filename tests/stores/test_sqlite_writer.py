"""What the SQLite store counts as open, and what it still writes when it is closed."""

import asyncio
from pathlib import Path

import pytest

from chatserve.contracts.turns import Idempotency
from chatserve.core.errors import LeaseLost
from chatserve.stores.sqlite import SqliteStore, turns
from tests.stores.store_values import begin, branch_ids, commit


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
    await store.close()


async def test_turn_whose_end_was_written_though_that_seemed_to_fail_is_open_no_more(tmp_path: Path) -> None:
    store = SqliteStore(f"sqlite:///{tmp_path}/chat.db")
    await store.open(now=1.0)
    await store.begin_turn(begin(1, "s_1"))
    end = commit(1, session_id="s_1", done_seq=5)
    await store._writer.submit(turns.commit_turn, end)  # as if the disk had it, and the answer was an error
    with pytest.raises(LeaseLost):
        await store.commit_turn(end)
    assert len(store._open_turns) == 0
    await store.close()


async def test_what_waits_when_the_store_is_closed_is_written(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/chat.db"
    store = SqliteStore(url)
    await store.open(now=1.0)
    beginning = [asyncio.ensure_future(store.begin_turn(begin(n, f"s_{n}"))) for n in range(3)]
    await asyncio.sleep(0)
    await store.close()
    await asyncio.gather(*beginning)
    again = SqliteStore(url)
    await again.open(now=2.0)
    assert [await branch_ids(again, f"s_{n}") for n in range(3)] == [["u_0"], ["u_1"], ["u_2"]]
    await again.close()
