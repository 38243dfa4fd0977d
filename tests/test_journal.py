"""The journal: what is shown when, where every event must be stored before."""

import asyncio
from collections.abc import Sequence
from typing import Any

from chatserve.engine.journal import Journal
from chatserve.engine.log import SessionLog
from chatserve.engine.tasks import OwnedTasks
from chatserve.events import NumberedEvent, StatusReported
from tests.support.engine import within


class SlowStore:
    """Stores a batch when it is let."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.gate = asyncio.Event()
        self.stored: list[int] = []

    async def journal_events(self, batch: Sequence[tuple[str, Sequence[NumberedEvent]]], *, now: float) -> None:
        self.entered.set()
        await self.gate.wait()
        self.stored += [event.seq for _, events in batch for event in events]


async def test_event_that_joins_while_others_are_stored_is_not_shown_with_them() -> None:
    store: Any = SlowStore()
    journal, log = Journal(store, OwnedTasks(), lambda: 0.0, is_strict=True), SessionLog("s_1", 0)
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
