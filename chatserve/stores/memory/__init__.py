"""The store that keeps everything in this process."""

from chatserve.stores.memory.store import MemoryStore

__all__ = ["MemoryStore"]
