"""Operations on their way to a thread, and their outcomes on the way back. Knows neither files nor tables."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import groupby
from operator import itemgetter
from queue import SimpleQueue
from threading import Thread
from typing import Any, NamedTuple, TypeAlias

from chatserve.core.errors import StoreError


class Group(NamedTuple):
    """How to run an operation for many callers at once.

    `operation` takes a list with the argument of each caller and returns their outcomes in the same order: a value, or
    an error that refuses the call and changes nothing. One call never contains two arguments of the same `key`.
    """

    operation: Callable[..., Sequence[Any]]
    key: str


class Job(NamedTuple):
    """An operation with its arguments, and the future that waits for its result.

    A job with a `group` may change places with jobs of other keys. A soft job does not need a commit that waits for the
    disk.
    """

    operation: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    future: asyncio.Future[Any]
    group: Group | None = None
    is_soft: bool = False


Outcome: TypeAlias = tuple["asyncio.Future[Any]", Any]
"""A caller's future and the result for it: a value, or an error to raise."""


class Workers:
    """Threads that take jobs from one queue, from `open` to `close`. All callers are in the event loop of `open`."""

    def __init__(self, name: str, work: Callable[[], None], count: int = 1) -> None:
        """Prepare `count` threads that each run `work`: it takes jobs until it finds None in the queue."""
        self.queue: SimpleQueue[Job | None] = SimpleQueue()
        self._name = name
        self._work = work
        self._count = count
        self._ended: list[asyncio.Future[None]] = []
        self._is_open = False

    def open(self) -> None:
        """Start the threads."""
        self._loop = asyncio.get_running_loop()
        self.queue = SimpleQueue()
        self._ended = [self._loop.create_future() for _ in range(self._count)]
        for ended in self._ended:
            Thread(target=self._run, args=(ended,), name=f"chatserve-{self._name}", daemon=True).start()
        self._is_open = True

    def _run(self, ended: asyncio.Future[None]) -> None:
        try:
            self._work()
        finally:
            self.deliver([(ended, None)])

    def put(
        self,
        operation: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        group: Group | None = None,
        *,
        is_soft: bool = False,
    ) -> asyncio.Future[Any]:
        """Add a job to the queue; return the future of its result. Raises: StoreError if the store is closed."""
        if not self._is_open:
            raise StoreError("the store is closed")
        future = self._loop.create_future()
        self.queue.put(Job(operation, args, kwargs, future, group, is_soft))
        return future

    def deliver(self, outcomes: Sequence[Outcome]) -> None:
        """Set the results of the waiting futures, with one wake-up of their loop for all of them."""
        with suppress(RuntimeError):  # the loop is closed: nothing waits any more
            self._loop.call_soon_threadsafe(_resolve, outcomes)

    def refuse(self) -> None:
        """Accept no more jobs. Those in the queue still run."""
        self._is_open = False

    async def close(self) -> None:
        """Return when all jobs are done and the threads have ended. Idempotent."""
        self.refuse()
        for _ in self._ended:
            self.queue.put(None)
        for ended in self._ended:
            await asyncio.shield(ended)


def _resolve(outcomes: Sequence[Outcome]) -> None:
    for future, result in outcomes:
        if future.done():
            continue
        if isinstance(result, BaseException):
            future.set_exception(result)
        else:
            future.set_result(result)


def in_groups(jobs: Iterable[Job]) -> Iterator[Sequence[Job]]:
    """Yield the jobs that can run together. Jobs of the same key, and those without a group, keep their order."""
    for is_grouped, run in groupby(jobs, key=lambda job: job.group is not None):
        if is_grouped:
            yield from _rounds(run)
        else:
            yield from ([job] for job in run)


def _rounds(jobs: Iterable[Job]) -> Iterator[Sequence[Job]]:
    """Yield jobs by operation, in rounds: in each round a key has one job."""
    rounds: Counter[str] = Counter()
    groups: dict[tuple[int, Callable[..., Any]], list[Job]] = {}
    for job in jobs:
        if job.group is not None:
            rounds[job.group.key] += 1
            groups.setdefault((rounds[job.group.key], job.operation), []).append(job)
    for place in sorted(groups, key=itemgetter(0)):
        yield groups[place]
