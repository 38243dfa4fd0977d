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
from queue import SimpleQueue
from threading import Thread
from typing import Any, Concatenate, Final, ParamSpec, TypeVar, cast

from chatserve.core.errors import StoreError
from chatserve.stores.sqlite.database import Database, store_error
from chatserve.stores.sqlite.jobs import Group, Job, Outcome, deliver, in_groups, new_job

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
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._closed: asyncio.Future[None] | None = None
        self._is_open = False
        self._synchronous = ""
        self._kill_point = _KillPoint.from_environment()

    async def open(self) -> None:
        """Start the thread. Return when it has opened the database."""
        loop = asyncio.get_running_loop()
        opened: asyncio.Future[None] = loop.create_future()
        self._closed = loop.create_future()
        self._jobs = SimpleQueue()
        Thread(target=self._run, args=(loop, opened, self._closed), name="chatserve-writer", daemon=True).start()
        await opened
        self._is_open = True

    async def submit(
        self, operation: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run `operation(connection, ...)`, commit it, and return its result.

        Raises:
            StoreError: the store is closed, 10,000 operations are waiting, or SQLite failed.
            Exception: what the operation raised.
        """
        return cast("T", await self._put(new_job(operation, args, kwargs)))

    async def submit_grouped(self, operation: Callable[[sqlite3.Connection, V], T], value: V, group: Group) -> T:
        """Run `operation(connection, value)` like `submit`, or `group.operation` for it and other jobs together."""
        return cast("T", await self._put(new_job(operation, (value,), {}, group)))

    async def submit_soft(
        self, operation: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run an operation like `submit`. Until the next durable commit, a power failure may undo it."""
        return cast("T", await self._put(new_job(operation, args, kwargs, is_soft=True)))

    def _put(self, job: Job) -> asyncio.Future[Any]:
        if not self._is_open:
            raise StoreError("the store is closed")
        if self._jobs.qsize() >= MAX_WAITING:
            raise StoreError(f"{MAX_WAITING} writes wait for the store already")
        self._jobs.put(job)
        return job.future

    def refuse(self) -> None:
        """Accept no more operations. Those already submitted still run."""
        self._is_open = False

    async def close(self) -> None:
        """Finish the submitted operations, then close the database in its thread. Idempotent."""
        self.refuse()
        if self._closed is not None:
            self._jobs.put(None)
            await asyncio.shield(self._closed)

    # the thread

    def _run(self, loop: asyncio.AbstractEventLoop, opened: asyncio.Future[None], closed: asyncio.Future[None]) -> None:
        self._synchronous = ""
        try:
            self._database.open()
        except BaseException as error:  # noqa: BLE001 the caller of `open` gets it
            deliver(loop, [Outcome(opened, None, error), Outcome(closed, None, None)])
            return
        deliver(loop, [Outcome(opened, None, None)])
        while self._write_batch():
            pass
        try:
            self._database.close()
        finally:
            deliver(loop, [Outcome(closed, None, None)])

    def _write_batch(self) -> bool:
        """Commit the waiting operations, at most `MAX_BATCH`; return False after the last batch."""
        first = self._jobs.get()
        waiting = min(self._jobs.qsize(), MAX_BATCH - 1)
        taken = [first, *(self._jobs.get_nowait() for _ in range(waiting))]
        batch = [job for job in taken if job is not None]
        if batch:
            outcomes = self._commit(batch)
            for loop in {job.loop for job in batch}:
                deliver(loop, [outcome for outcome in outcomes if outcome.future.get_loop() is loop])
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
        except sqlite3.Error as error:
            _roll_back(db)
            return [Outcome(job.future, None, store_error(error)) for job in batch]
        except _HalfDone as failure:
            _roll_back(db)
            if len(batch) > 1:
                return [outcome for job in batch for outcome in self._commit([job])]
            return [Outcome(batch[0].future, None, _cause(failure))]
        return outcomes

    def _set_synchronous(self, db: sqlite3.Connection, level: str) -> None:
        if level != self._synchronous:
            db.execute(f"PRAGMA synchronous = {level}")
            self._synchronous = level

    def _pass(self, moment: str, batch: Sequence[Job]) -> None:
        if self._kill_point is not None:
            for job in batch:
                self._kill_point.pass_by(job.operation.__name__, moment)


def _apply(db: sqlite3.Connection, jobs: Sequence[Job]) -> Sequence[Outcome]:
    group = jobs[0].group
    return [_apply_one(db, jobs[0])] if group is None or len(jobs) == 1 else _apply_group(db, group, jobs)


def _apply_group(db: sqlite3.Connection, group: Group, jobs: Sequence[Job]) -> Sequence[Outcome]:
    try:
        found = group.operation(db, [job.args[0] for job in jobs])
    except Exception as error:
        raise _HalfDone from error
    return [
        Outcome(job.future, None, value) if isinstance(value, Exception) else Outcome(job.future, value, None)
        for job, value in zip(jobs, found, strict=True)
    ]


def _apply_one(db: sqlite3.Connection, job: Job) -> Outcome:
    changes = db.total_changes
    try:
        return Outcome(job.future, job.operation(db, *job.args, **job.kwargs), None)
    except Exception as error:
        # SQLite may have ended the transaction by itself, as it does when the disk is full.
        if isinstance(error, sqlite3.Error) or db.total_changes != changes:
            raise _HalfDone from error
        return Outcome(job.future, None, error)


def _cause(failure: _HalfDone) -> BaseException | None:
    error = failure.__cause__
    return store_error(error) if isinstance(error, sqlite3.Error) else error


def _roll_back(db: sqlite3.Connection) -> None:
    if db.in_transaction:
        with suppress(sqlite3.Error):  # then the next BEGIN fails, and its callers get that error
            db.execute("ROLLBACK")


class _KillPoint:
    """The point at which a crash test ends this process."""

    def __init__(self, name: str, moment: str, times: int) -> None:
        self._name, self._moment, self._times_left = name, moment, times

    @classmethod
    def from_environment(cls) -> _KillPoint | None:
        name, _, rest = os.environ.get(KILL_VARIABLE, "").partition(":")
        moment, _, times = rest.partition(":")
        return cls(name, moment, int(times or 1)) if name else None

    def pass_by(self, name: str, moment: str) -> None:
        if (name, moment) == (self._name, self._moment):
            self._times_left -= 1
            if self._times_left == 0:
                os._exit(137)
