"""The threads that read: a read neither blocks the event loop nor waits for a commit. Knows no tables.

Every read runs in a transaction of its own, so it sees one state of the store, with all earlier commits.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, TypeVar, cast

from chatserve.stores.sqlite.database import caller_error, connect_reader
from chatserve.stores.sqlite.jobs import Job, Workers

P = ParamSpec("P")
T = TypeVar("T")

READER_COUNT: Final = 2


class Readers:
    """A few threads, each with a connection that cannot write."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._workers = Workers("reader", self._work, READER_COUNT)

    def open(self) -> None:
        """Start the threads. The database must be open."""
        self._workers.open()

    async def submit(
        self, operation: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run `operation(connection, ...)` and return its result. Raises: StoreError, and what the operation raised."""
        return cast("T", await self._workers.put(operation, args, kwargs))

    async def close(self) -> None:
        """Finish the submitted operations, then close the connections in their threads. Idempotent."""
        await self._workers.close()

    def _work(self) -> None:
        db: sqlite3.Connection | None = None
        while (job := self._workers.queue.get()) is not None:
            try:
                db = db or connect_reader(self._path)
                result = _read(db, job)
            except Exception as error:  # noqa: BLE001 the caller gets it
                result = caller_error(error)
            self._workers.deliver([(job.future, result)])
        if db is not None:
            db.close()


def _read(db: sqlite3.Connection, job: Job) -> Any:
    db.execute("BEGIN")
    try:
        return job.operation(db, *job.args, **job.kwargs)
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")
