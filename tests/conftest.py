"""Fixtures every test may use, and what worker processes need."""

import asyncio
import functools
import inspect
from collections.abc import Generator
from typing import Any

import pytest

LONGEST_FIRST = tuple(
    f"tests/{start}"
    for start in ("routes/test_openapi_conformance", "faults/", "clients/", "examples/", "cli/", "test_")
)
"""Where tests start servers, browsers and clients. Workers that begin with these files end at the same time."""


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> None:
    """End a coroutine that hangs well before its timeout: the signal would leave its event loop hanging for ever."""
    test = pyfuncitem.obj
    if inspect.iscoroutinefunction(test):
        marker = pyfuncitem.get_closest_marker("timeout")
        limit_s = 0.75 * float(marker.args[0] if marker else pyfuncitem.config.getini("timeout"))

        @functools.wraps(test)
        async def in_time(*args: Any, **given: Any) -> None:
            async with asyncio.timeout(limit_s):
                await test(*args, **given)

        pyfuncitem.obj = in_time


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the files that take long at the head of the queue that the workers share."""
    if hasattr(config, "workerinput"):
        items.sort(key=_place_in_queue)


def _place_in_queue(item: pytest.Item) -> int:
    places = (place for place, start in enumerate(LONGEST_FIRST) if item.nodeid.startswith(start))
    return next(places, len(LONGEST_FIRST))


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """Escape lone surrogates in a report: a test may log one, and a worker can send only what UTF-8 can carry."""
    return _escape_surrogates((yield))


def _escape_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, dict):
        return {_escape_surrogates(key): _escape_surrogates(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_escape_surrogates, value))
    return value
