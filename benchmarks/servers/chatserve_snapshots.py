"""chatserve over the very function Gradio is measured with: each yield replaces the answer so far."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from benchmarks.servers.answer import stream
from chatserve import ChatServer

app = ChatServer(title="Benchmark")


@app.chat
async def predict(message: str, history: list[Any]) -> AsyncIterator[str]:
    """Yield the growing answer."""
    text = ""
    async for token in stream(message):
        text += token
        yield text
