"""The threads that read: a read neither blocks the event loop nor waits for a commit. Knows no tables.

Every read runs in a transaction of its own, so it sees one state of the store, with all earlier commits.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, Concatenate, Final, ParamSpec, TypeVar, cast

from chatserve.core.errors import StoreError
from chatserve.stores.sqlite.database import connect_reader, store_error
from chatserve.stores.sqlite.jobs import Job, Outcome, deliver, new_job

P = ParamSpec("P")
T = TypeVar("T")

READER_COUNT: Final = 2


class Readers:
    """A few threads, each with a connection that cannot write."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._closed: list[asyncio.Future[None]] = []
        self._is_open = False

    def open(self) -> None:
        """Start the threads. The database must be open."""
        loop = asyncio.get_running_loop()
        self._closed = [loop.create_future() for _ in range(READER_COUNT)]
        for closed in self._closed:
            Thread(target=self._run, args=(loop, closed), name="chatserve-reader", daemon=True).start()
        self._is_open = True

    async def submit(
        self, operation: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run `operation(connection, ...)` and return its result. Raises: StoreError, and what the operation raised."""
        if not self._is_open:
            raise StoreError("the store is closed")
        job = new_job(operation, args, kwargs)
        self._jobs.put(job)
        return cast("T", await job.future)

    async def close(self) -> None:
        """Finish the submitted operations, then close the connections in their threads. Idempotent."""
        if self._is_open:
            self._is_open = False
            for _ in self._closed:
                self._jobs.put(None)
        for closed in self._closed:
            await asyncio.shield(closed)

    # the threads

    def _run(self, loop: asyncio.AbstractEventLoop, closed: asyncio.Future[None]) -> None:
        db: sqlite3.Connection | None = None
        while (job := self._jobs.get()) is not None:
            try:
                db = db or connect_reader(self._path)
                value = _read(db, job)
            except sqlite3.Error as error:
                deliver(job.loop, [Outcome(job.future, None, store_error(error))])
            except Exception as error:  # noqa: BLE001 the caller gets it
                deliver(job.loop, [Outcome(job.future, None, error)])
            else:
                deliver(job.loop, [Outcome(job.future, value, None)])
        if db is not None:
            db.close()
        deliver(loop, [Outcome(closed, None, None)])


def _read(db: sqlite3.Connection, job: Job) -> Any:
    db.execute("BEGIN")
    try:
        return job.operation(db, *job.args, **job.kwargs)
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")
