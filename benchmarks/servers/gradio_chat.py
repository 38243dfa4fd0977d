"""Gradio's ChatInterface, without its default limit of one turn at a time; each yield replaces the answer so far.

The first argument is the port, the second `async` or `sync`.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import gradio

from benchmarks.servers.answer import stream, stream_sync


async def predict(message: str, history: list[Any]) -> AsyncIterator[str]:
    """Yield the growing answer."""
    text = ""
    async for token in stream(message):
        text += token
        yield text


def predict_sync(message: str, history: list[Any]) -> Iterator[str]:
    """Yield the growing answer, in a thread."""
    text = ""
    for token in stream_sync(message):
        text += token
        yield text


if __name__ == "__main__":
    interface = gradio.ChatInterface(
        predict if sys.argv[2] == "async" else predict_sync, api_name="chat", concurrency_limit=None
    )
    # Gradio runs no more turns at once than it has threads, async ones included.
    interface.launch(server_port=int(sys.argv[1]), max_threads=2000, quiet=True, ssr_mode=False)
