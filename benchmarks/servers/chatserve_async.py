"""chatserve over an async function that yields deltas."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from benchmarks.servers.answer import stream
from chatserve import ChatServer

app = ChatServer(title="Benchmark")


@app.chat(yields="deltas")
async def predict(message: str, history: list[Any]) -> AsyncIterator[str]:
    """Yield the tokens."""
    async for token in stream(message):
        yield token
