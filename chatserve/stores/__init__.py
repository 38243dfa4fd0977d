"""Stores keep the sessions: the registry of stores by URL scheme. A store's module is imported only when it is used."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Final, cast

from chatserve.contracts.store import Store
from chatserve.core.errors import ConfigurationError

STORES: Final[Mapping[str, str]] = {
    "sqlite": "chatserve.stores.sqlite.store:SqliteStore",
    "memory": "chatserve.stores.memory.store:MemoryStore",
}


def create_store(url: str) -> Store:
    """Return the store that a URL names. It is not open yet.

    Raises:
        ConfigurationError: there is no store for this scheme, or the store does not understand the URL.
    """
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in STORES:
        allowed = ", ".join(f"{name}://" for name in STORES)
        raise ConfigurationError(f"store: {url!r} is not a store URL; it must begin with one of {allowed}")
    module, _, name = STORES[scheme].partition(":")
    return cast("Store", getattr(import_module(module), name)(url))
