"""Operations on their way to a thread, and their outcomes on the way back. Knows neither files nor tables."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple


class Group(NamedTuple):
    """How to run an operation for many callers at once.

    `operation` takes a list with the argument of each caller and returns their outcomes in the same order: a value, or
    an error that refuses the call and changes nothing. One call never contains two arguments of the same `key`.
    """

    operation: Callable[..., Sequence[Any]]
    key: str


class Job(NamedTuple):
    """An operation with its arguments, and the future and event loop that wait for its result.

    A job with a `group` may change places with jobs of other keys. A soft job does not need a commit that waits for the
    disk.
    """

    operation: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop
    group: Group | None = None
    is_soft: bool = False


class Outcome(NamedTuple):
    """The result for a caller: a value, or an error."""

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
    """Return a job whose result the running event loop waits for."""
    loop = asyncio.get_running_loop()
    return Job(operation, args, kwargs, loop.create_future(), loop, group, is_soft)


def in_groups(jobs: Iterable[Job]) -> Iterator[Sequence[Job]]:
    """Yield the jobs that can run together. Jobs of the same key, and those without a group, keep their order."""
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


def deliver(loop: asyncio.AbstractEventLoop, outcomes: Sequence[Outcome]) -> None:
    """Set the results of the waiting futures, with one wake-up of their loop for all of them."""
    with suppress(RuntimeError):  # the loop is closed: nothing waits any more
        loop.call_soon_threadsafe(_resolve, outcomes)


def _resolve(outcomes: Sequence[Outcome]) -> None:
    for future, value, error in outcomes:
        if future.done():
            continue
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)
