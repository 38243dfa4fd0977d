"""chatserve over a sync function that yields deltas."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.servers.answer import stream_sync
from chatserve import ChatServer

app = ChatServer(title="Benchmark")


@app.chat(yields="deltas")
def predict(message: str, history: list[Any]) -> Iterator[str]:
    """Yield the tokens."""
    yield from stream_sync(message)
