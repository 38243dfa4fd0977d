"""Stores are found by URL scheme."""

from __future__ import annotations

import pytest

from chatserve.core.errors import ConfigurationError
from chatserve.stores import STORES, create_store
from chatserve.stores.memory import MemoryStore
from chatserve.stores.sqlite import SqliteStore


def test_url_scheme_names_the_store() -> None:
    assert isinstance(create_store("memory://"), MemoryStore)
    assert isinstance(create_store("sqlite:///chat.db"), SqliteStore)
    assert isinstance(create_store("sqlite:////var/lib/chat.db"), SqliteStore)


@pytest.mark.parametrize("url", ["mysql://x", "sqlite", "chat.db", "", "://"])
def test_unknown_scheme_is_refused_with_the_value_and_what_is_allowed(url: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        create_store(url)
    line = str(refusal.value)
    assert repr(url) in line
    assert all(f"{scheme}://" in line for scheme in STORES)
    assert "\n" not in line


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite://chat.db", "memory://x"])
def test_url_its_store_cannot_understand_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="store: "):
        create_store(url)
