"""An operation somebody waits for, on its way to a thread and back. Knows neither SQLite's files nor its tables."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple


class Group(NamedTuple):
    """How an operation is done for many at once.

    `operation` is called with the one argument of each, and returns in their order what each comes to: a value, or the
    error with which it is refused, then without a change. It is not called with two of the same `key`.
    """

    operation: Callable[..., Sequence[Any]]
    key: str


class Job(NamedTuple):
    """An operation, to be called with a connection and these arguments, and who waits for it.

    With a `group` it may change places with jobs of other keys. A soft one needs no commit that waits for the disk.
    """

    operation: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop
    group: Group | None = None
    is_soft: bool = False


class Outcome(NamedTuple):
    """What a caller is to be told: a value, or an error."""

    future: asyncio.Future[Any]
    value: Any
    error: BaseException | None


def new_job(
    operation: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    group: Group | None = None,
    *,
    is_soft: bool = False,
) -> Job:
    """Return a job for which the running event loop waits."""
    loop = asyncio.get_running_loop()
    return Job(operation, args, kwargs, loop.create_future(), loop, group, is_soft)


def in_groups(jobs: Iterable[Job]) -> Iterator[Sequence[Job]]:
    """Yield jobs that can be done at once, together; jobs of one key, and those without a group, keep their order."""
    rounds: list[dict[Callable[..., Any], list[Job]]] = []  # in each round a key has one job
    rounds_of: dict[str, int] = {}
    for job in jobs:
        if job.group is None:
            for groups in rounds:
                yield from groups.values()
            rounds, rounds_of = [], {}
            yield [job]
            continue
        number = rounds_of.get(job.group.key, 0)
        rounds_of[job.group.key] = number + 1
        if number == len(rounds):
            rounds.append({})
        rounds[number].setdefault(job.operation, []).append(job)
    for groups in rounds:
        yield from groups.values()


def tell(loop: asyncio.AbstractEventLoop, outcomes: Sequence[Outcome]) -> None:
    """Hand outcomes to those who wait, with one wake-up of their loop for all of them."""
    with suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(_resolve, outcomes)


def _resolve(outcomes: Sequence[Outcome]) -> None:
    for future, value, error in outcomes:
        if future.done():
            continue
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)
