"""Makes the events of running turns durable, in one batch for all turns, shortly after they were published.

With `durability="events"` the order is reversed: events are stored first, then published. See docs/durability.md. Long
logs are filed in pieces, so that memory holds only their newest part.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable, Collection, Sequence

from chatserve.contracts.store import Store
from chatserve.core.errors import StoreError
from chatserve.core.events import LogEntry
from chatserve.engine.log.log import SessionLog
from chatserve.engine.pace import Pace
from chatserve.engine.tasks import OwnedTasks

logger = logging.getLogger("chatserve.engine")


class Journal:
    """Stores events while their turns run. `is_strict`: events are stored before they are published."""

    def __init__(
        self, store: Store, tasks: OwnedTasks, clock: Callable[[], float], pace: Pace, *, is_strict: bool
    ) -> None:
        self._store = store
        self._tasks = tasks
        self._clock = clock
        self._pace = pace
        self.is_strict = is_strict
        self._off_disk = 0
        self._on_disk_at = -math.inf
        self._dirty: set[SessionLog] = set()
        self._is_due = False
        self._is_closed = False
        self._flushing = asyncio.Lock()

    def show(self, log: SessionLog) -> bool:
        """Publish new events and store them soon. False: the caller must await `catch_up` instead."""
        if log.session_id and (self.is_strict or log.last_seq - log.journaled_seq > self._pace.max_unjournaled):
            return False
        self.note((log,))
        log.show()
        return True

    def note(self, logs: Collection[SessionLog]) -> None:
        """Store the published events of these logs soon, together."""
        self._dirty.update(logs)
        if not self._is_due and logs:
            self._is_due = True
            asyncio.get_running_loop().call_later(self._pace.flush_after_s, self._start_flush)

    async def catch_up(self, log: SessionLog) -> None:
        """Store the log's events, then publish them. Events appended meanwhile are stored next time."""
        self._dirty.add(log)
        await self._flush_until(log)
        log.publish(until=log.journaled_seq)

    def catch_up_soon(self, log: SessionLog) -> None:
        """Start a task that stores the log's events and publishes them."""
        self._tasks.spawn(self.catch_up(log), name="chatserve-journal")

    def publish_stored(self, log: SessionLog) -> None:
        """Publish an event whose transaction is committed; the journal's copy of it may follow."""
        self.note((log,))
        if not self.is_strict or log.published_seq == log.last_seq - 1:  # else earlier events come first
            log.publish()

    def _start_flush(self) -> None:
        if not self._is_closed:
            self._tasks.spawn(self._flush_dirty(), name="chatserve-journal")

    async def _flush_dirty(self) -> None:
        try:
            await self.flush()
        except StoreError as error:
            logger.warning("events could not be stored yet: %s", error)
        self._is_due = False
        self.note(self._dirty)

    async def _flush_until(self, log: SessionLog) -> None:
        wanted = log.last_seq
        while log.journaled_seq < wanted:
            try:
                await self.flush()
            except StoreError as error:
                logger.warning("events wait for the store: %s", error)
                await asyncio.sleep(self._pace.store_retry_s)

    async def close(self) -> None:
        """Store the remaining events, if the store responds."""
        self._is_closed = True
        with contextlib.suppress(StoreError):
            await self.flush()

    async def flush(self) -> None:
        """Store all events that a crash would otherwise lose. Raises: StoreError."""
        async with self._flushing:
            logs, self._dirty = self._dirty, set()
            batch: list[tuple[str, Sequence[LogEntry]]] = []
            last_seqs: list[tuple[SessionLog, int]] = []
            longest = 0
            for log in logs:
                count = log.last_seq - log.journaled_seq
                if not log.session_id:
                    log.keep_nothing()
                elif count:
                    batch.append((log.session_id, log.unjournaled()))
                    last_seqs.append((log, log.last_seq))
                    longest = max(longest, count)
            if not batch:
                return
            try:
                await self._journal(batch, longest)
            except StoreError:
                self._dirty |= logs
                raise
            for log, last_seq in last_seqs:
                log.journal(last_seq)
                if log.last_seq - log.base > 2 * self._pace.kept_events:
                    await self._file(log)

    async def _journal(self, batch: Sequence[tuple[str, Sequence[LogEntry]]], longest: int) -> None:
        """Store a batch. Wait for the disk in strict mode, or when enough events are not on the disk yet."""
        now = asyncio.get_running_loop().time()
        off_disk = self._off_disk + longest
        is_due = off_disk > self._pace.max_off_disk or now - self._on_disk_at >= self._pace.disk_after_s
        durable = self.is_strict or is_due
        await self._store.journal_events(batch, now=self._clock(), durable=durable)
        if durable:
            self._off_disk, self._on_disk_at = 0, now
        else:
            self._off_disk = off_disk

    async def _file(self, log: SessionLog) -> None:
        """File the events of a long log, and drop the older ones from memory."""
        last_seq = log.last_seq
        if last_seq - log.filed_seq > self._pace.kept_events:
            await self._store.append_events(log.session_id, log.unfiled(), now=self._clock())
            log.file(last_seq)
        log.trim()
