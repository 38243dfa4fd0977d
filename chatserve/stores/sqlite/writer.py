"""The one thread that writes. It takes all the operations that wait for it and commits them together.

An operation is a function that takes the connection. It runs without a savepoint. If it raises before it has changed
anything, its caller gets the error. If it fails half-way, the batch is rolled back and run again, each operation by
itself. So the usual batch costs one BEGIN and one COMMIT for all its callers, and grouped operations take as many
statements for many callers as for one. While the thread commits, the next batch gathers.
A batch of soft operations only is committed without waiting for the disk; the next durable commit writes it there.
Knows no tables.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Concatenate, Final, ParamSpec, TypeVar, cast

from chatserve.core.errors import StoreError
from chatserve.stores.sqlite.database import Database, caller_error
from chatserve.stores.sqlite.jobs import Group, Job, Outcome, Workers, in_groups

P = ParamSpec("P")
T = TypeVar("T")
V = TypeVar("V")

MAX_WAITING: Final = 10_000
MAX_BATCH: Final = 512
KILL_VARIABLE: Final = "CHATSERVE_TEST_KILL_AT"
"""For crash tests: `name:before` or `name:after` (of the commit), and perhaps `:N` for the N-th time."""


class _HalfDone(Exception):
    """An operation failed after it had changed something."""


class Writer:
    """Runs operations on the database's one writing connection, in the order of their submission."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._workers = Workers("writer", self._work)
        self._synchronous = ""
        self._kill_point = os.environ.get(KILL_VARIABLE, "")
        self._kill_point_passed = 0

    async def open(self) -> None:
        """Start the thread. Return when it has opened the database."""
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._workers.open()
        try:
            await self._opened
        except BaseException:
            self.refuse()
            raise

    async def submit(
        self, operation: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run `operation(connection, ...)`, commit it, and return its result.

        Raises:
            StoreError: the store is closed, 10,000 operations are waiting, or SQLite failed.
            Exception: what the operation raised.
        """
        return cast("T", await self._put(operation, args, kwargs))

    async def submit_grouped(self, operation: Callable[[sqlite3.Connection, V], T], value: V, group: Group) -> T:
        """Run `operation(connection, value)` like `submit`, or `group.operation` for it and other jobs together."""
        return cast("T", await self._put(operation, (value,), {}, group))

    async def submit_soft(
        self, operation: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run an operation like `submit`. Until the next durable commit, a power failure may undo it."""
        return cast("T", await self._put(operation, args, kwargs, is_soft=True))

    def _put(self, *job: Any, is_soft: bool = False) -> asyncio.Future[Any]:
        if self._workers.queue.qsize() >= MAX_WAITING:
            raise StoreError(f"{MAX_WAITING} writes wait for the store already")
        return self._workers.put(*job, is_soft=is_soft)

    def refuse(self) -> None:
        """Accept no more operations. Those already submitted still run."""
        self._workers.refuse()

    async def close(self) -> None:
        """Finish the submitted operations, then close the database in its thread. Idempotent."""
        await self._workers.close()

    # the thread

    def _work(self) -> None:
        self._synchronous = ""
        try:
            self._database.open()
        except BaseException as error:  # noqa: BLE001 the caller of `open` gets it
            self._workers.deliver([(self._opened, error)])
            return
        self._workers.deliver([(self._opened, None)])
        while self._write_batch():
            pass
        self._database.close()

    def _write_batch(self) -> bool:
        """Commit the waiting operations, at most `MAX_BATCH`; return False after the last batch."""
        queue = self._workers.queue
        first = queue.get()
        waiting = min(queue.qsize(), MAX_BATCH - 1)
        taken = [first, *(queue.get_nowait() for _ in range(waiting))]
        batch = [job for job in taken if job is not None]
        if batch:
            self._workers.deliver(self._commit(batch))
        return len(batch) == len(taken)

    def _commit(self, batch: Sequence[Job]) -> list[Outcome]:
        db = self._database.connection
        try:
            self._set_synchronous(db, "NORMAL" if all(job.is_soft for job in batch) else "FULL")
            db.execute("BEGIN IMMEDIATE")
            outcomes = [outcome for jobs in in_groups(batch) for outcome in _apply(db, jobs)]
            self._pass("before", batch)
            db.execute("COMMIT")
            self._pass("after", batch)
        except (sqlite3.Error, _HalfDone) as failure:
            _roll_back(db)
            if isinstance(failure, _HalfDone) and len(batch) > 1:
                return [outcome for job in batch for outcome in self._commit([job])]
            error = caller_error(failure.__cause__ or failure)
            return [(job.future, error) for job in batch]
        return outcomes

    def _set_synchronous(self, db: sqlite3.Connection, level: str) -> None:
        if level != self._synchronous:
            db.execute(f"PRAGMA synchronous = {level}")
            self._synchronous = level

    def _pass(self, moment: str, batch: Sequence[Job]) -> None:
        """Kill the process if this is the moment that a crash test has named."""
        if self._kill_point:
            name, _, rest = self._kill_point.partition(":")
            kill_moment, _, times = rest.partition(":")
            passing = [job for job in batch if (job.operation.__name__, moment) == (name, kill_moment)]
            self._kill_point_passed += len(passing)
            if passing and self._kill_point_passed >= int(times or 1):
                os._exit(137)


def _apply(db: sqlite3.Connection, jobs: Sequence[Job]) -> list[Outcome]:
    first, changes = jobs[0], db.total_changes
    try:
        if first.group is None or len(jobs) == 1:
            results: Sequence[Any] = [first.operation(db, *first.args, **first.kwargs)]
        else:
            results = first.group.operation(db, [job.args[0] for job in jobs])
    except Exception as error:
        # SQLite may have ended the transaction by itself, as it does when the disk is full.
        if len(jobs) > 1 or isinstance(error, sqlite3.Error) or db.total_changes != changes:
            raise _HalfDone from error
        results = [error]
    return [(job.future, result) for job, result in zip(jobs, results, strict=True)]


def _roll_back(db: sqlite3.Connection) -> None:
    if db.in_transaction:
        with suppress(sqlite3.Error):  # then the next BEGIN fails, and its callers get that error
            db.execute("ROLLBACK")
