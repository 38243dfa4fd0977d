"""An operation somebody waits for, on its way to a thread and back. Knows neither SQLite's files nor its tables."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple


class Job(NamedTuple):
    """An operation, to be called with a connection and these arguments, and who waits for it."""

    operation: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop


class Outcome(NamedTuple):
    """What a caller is to be told: a value, or an error."""

    future: asyncio.Future[Any]
    value: Any
    error: BaseException | None


def new_job(operation: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Job:
    """Return a job for which the running event loop waits."""
    loop = asyncio.get_running_loop()
    return Job(operation, args, kwargs, loop.create_future(), loop)


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
