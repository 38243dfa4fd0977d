"""The journal: what is shown when, where every event must be stored before; what waits for the disk."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from chatserve.core.errors import StoreError
from chatserve.core.events import NumberedEvent, StatusReported
from chatserve.engine import Pace
from chatserve.engine.log.journal import Journal
from chatserve.engine.log.log import SessionLog
from chatserve.engine.tasks import OwnedTasks
from tests.support.engine import within


class SlowStore:
    """Stores a batch when it is let."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.gate = asyncio.Event()
        self.stored: list[int] = []
        self.durable: list[bool] = []
        self.failures: list[StoreError] = []

    async def journal_events(
        self, batch: Sequence[tuple[str, Sequence[NumberedEvent]]], *, now: float, durable: bool
    ) -> None:
        self.entered.set()
        await self.gate.wait()
        if self.failures:
            raise self.failures.pop()
        self.stored += [event.seq for _, events in batch for event in events]
        self.durable.append(durable)


def journal_of(store: Any, pace: Pace, *, is_strict: bool) -> tuple[Journal, SessionLog]:
    return Journal(store, OwnedTasks(), lambda: 0.0, pace, is_strict=is_strict), SessionLog("s_1", 0, pace)


async def test_event_that_joins_while_others_are_stored_is_not_shown_with_them() -> None:
    store: Any = SlowStore()
    journal, log = journal_of(store, Pace(), is_strict=True)
    log.append("t_1", [StatusReported("first")])
    storing = asyncio.create_task(journal.catch_up(log))
    await within(store.entered.wait())
    log.append("t_1", [StatusReported("second")])
    store.gate.set()
    await within(storing)
    assert store.stored == [1]
    assert log.published_seq == 1
    await within(journal.catch_up(log))
    assert store.stored == [1, 2]
    assert log.published_seq == 2


async def _store_one_by_one(count: int, pace: Pace, *, is_strict: bool) -> list[bool]:
    """Store events in batches of one; return which of the batches had to reach the disk."""
    store: Any = SlowStore()
    store.gate.set()
    journal, log = journal_of(store, pace, is_strict=is_strict)
    for _ in range(count):
        log.append("t_1", [StatusReported("working")])
        await within(journal.catch_up(log))
    durable: list[bool] = store.durable
    return durable


async def test_disk_is_waited_for_again_when_enough_events_have_not_waited() -> None:
    assert await _store_one_by_one(7, Pace(disk_after_s=1e9, max_off_disk=2), is_strict=False) == [
        True,
        False,
        False,
        True,
        False,
        False,
        True,
    ]


async def test_disk_is_waited_for_again_when_time_has_passed() -> None:
    assert await _store_one_by_one(3, Pace(disk_after_s=0.0), is_strict=False) == [True, True, True]


async def test_events_that_are_stored_before_they_are_shown_wait_for_the_disk() -> None:
    assert await _store_one_by_one(3, Pace(disk_after_s=1e9), is_strict=True) == [True, True, True]


async def test_batch_that_did_not_reach_the_disk_is_waited_for_when_it_comes_again() -> None:
    store: Any = SlowStore()
    store.gate.set()
    store.failures = [StoreError("away")]
    journal, log = journal_of(store, Pace(disk_after_s=1e9), is_strict=False)
    log.append("t_1", [StatusReported("working")])
    journal.show(log)
    with pytest.raises(StoreError):
        await journal.flush()
    await journal.flush()
    assert (store.durable, store.stored, log.journaled_seq) == ([True], [1], 1)
