"""Every contract test runs over every store of the registry."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from chatserve.contracts.store import Store
from chatserve.core.types import Turn
from chatserve.stores import create_store
from tests.support.blocking import nothing_blocks

Reopen = Callable[[Store], Awaitable[tuple[Store, tuple[Turn, ...]]]]


@pytest.fixture(autouse=True)
def _nothing_blocks_the_loop() -> Iterator[None]:
    with nothing_blocks():
        yield


@pytest.fixture(params=["memory", "sqlite"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/chat.db"


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    store = create_store(store_url)
    assert await store.open(now=1.0) == ()
    yield store
    await store.close()


@pytest.fixture
async def reopen(store_url: str) -> AsyncIterator[Reopen]:
    """Leave a store as a crash does, and open it again at time 1000."""
    opened: list[Store] = []

    async def reopen(store: Store) -> tuple[Store, tuple[Turn, ...]]:
        await store.close()
        again = store if store_url == "memory://" else create_store(store_url)
        opened.append(again)
        return again, await again.open(now=1000.0)

    yield reopen
    for store in opened:
        await store.close()
