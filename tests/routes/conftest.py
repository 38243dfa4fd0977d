"""Every route test runs in process, and over every store where the store matters."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.blocking import nothing_blocks


@pytest.fixture(autouse=True)
def _nothing_blocks_the_loop() -> Iterator[None]:
    with nothing_blocks():
        yield


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a store of each kind."""
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/chat.db"
