"""Makes the events of running turns durable: one batch for all of them, a moment after they were shown.

With `durability="events"` the order is turned round: `publish` waits until the events are stored. Logs that grow
long are filed in pieces, so that memory holds only their newest part.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable, Collection, Sequence
from typing import Final

from chatserve.contracts.store import Store
from chatserve.core.errors import StoreError
from chatserve.core.events import LogEntry
from chatserve.engine.log.log import KEPT_EVENTS, MAX_UNJOURNALED, SessionLog
from chatserve.engine.tasks import OwnedTasks

FLUSH_AFTER_S: Final = 0.04
"""Below the 50 ms the contract allows; the rest is for the commit."""

DISK_AFTER_S: Final = 1.0
MAX_OFF_DISK: Final = 1000
"""How much of one log's, and for how long, may be stored without being on the disk; with what is not stored yet it is
less than the numbering jumps by after a power failure."""

logger = logging.getLogger("chatserve.engine")


class Journal:
    """The way of events into the store while their turns run."""

    def __init__(self, store: Store, tasks: OwnedTasks, clock: Callable[[], float], *, is_strict: bool) -> None:
        self._store = store
        self._tasks = tasks
        self._clock = clock
        self.is_strict = is_strict
        self._off_disk = 0
        self._on_disk_at = -math.inf
        self._dirty: set[SessionLog] = set()
        self._is_due = False
        self._is_closed = False
        self._flushing = asyncio.Lock()

    def publish(self, log: SessionLog) -> bool:
        """Show new events to readers, and see to it that they are stored. False: `catch_up` must be awaited first."""
        if log.session_id and (self.is_strict or log.last_seq - log.journaled_seq > MAX_UNJOURNALED):
            return False
        self.note((log,))
        log.show()
        return True

    def note(self, logs: Collection[SessionLog]) -> None:
        """See to it that what was shown of these logs is stored, soon and together."""
        self._dirty.update(logs)
        if not self._is_due and logs:
            self._is_due = True
            asyncio.get_running_loop().call_later(FLUSH_AFTER_S, self._start_flush)

    async def catch_up(self, log: SessionLog) -> None:
        """Store the log's events, then show them; what was appended meanwhile waits for its own turn."""
        self._dirty.add(log)
        await self._flush_until(log)
        log.publish(until=log.journaled_seq)

    def catch_up_soon(self, log: SessionLog) -> None:
        """Store the log's events and show them, without waiting for it."""
        self._tasks.spawn(self.catch_up(log), name="chatserve-journal")

    def publish_soon(self, log: SessionLog) -> None:
        """Show events whose transaction is already behind them; the log's copy may follow."""
        self.note((log,))
        if not self.is_strict or log.published_seq == log.last_seq - 1:  # else it follows those that wait
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
                await asyncio.sleep(0.2)

    async def close(self) -> None:
        """Store what is left, if the store is there."""
        self._is_closed = True
        with contextlib.suppress(StoreError):
            await self.flush()

    async def flush(self) -> None:
        """Store all events that a crash would still lose. Raises: StoreError."""
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
                    if count > longest:
                        longest = count
            if not batch:
                return
            try:
                await self._journal(batch, longest)
            except StoreError:
                self._dirty |= logs
                raise
            for log, last_seq in last_seqs:
                if last_seq > log.journaled_seq:
                    log.journaled_seq = last_seq
                if log.last_seq - log.base > 2 * KEPT_EVENTS:
                    await self._file(log)

    async def _journal(self, batch: Sequence[tuple[str, Sequence[LogEntry]]], longest: int) -> None:
        """Store a batch, and wait for the disk where readers do, or where enough has not been waited for."""
        now = asyncio.get_running_loop().time()
        off_disk = self._off_disk + longest
        is_due = off_disk > MAX_OFF_DISK or now - self._on_disk_at >= DISK_AFTER_S
        durable = self.is_strict or is_due
        await self._store.journal_events(batch, now=self._clock(), durable=durable)
        if durable:
            self._off_disk, self._on_disk_at = 0, now
        else:
            self._off_disk = off_disk

    async def _file(self, log: SessionLog) -> None:
        """File the older part of a long log, and forget what is filed."""
        last_seq = log.last_seq
        if last_seq - log.filed_seq > KEPT_EVENTS:
            await self._store.append_events(log.session_id, log.unfiled(), now=self._clock())
            log.filed_seq = max(log.filed_seq, last_seq)
            log.journaled_seq = max(log.journaled_seq, log.filed_seq)
        log.trim()
