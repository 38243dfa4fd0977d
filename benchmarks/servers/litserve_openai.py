"""LitServe with its OpenAI specification, one asynchronous worker. The first argument is the port."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from typing import Any

import litserve

from benchmarks.servers.answer import stream


class TokenApi(litserve.LitAPI):
    """Answers what the last message orders."""

    def setup(self, device: str) -> None:
        """There is no model to load."""

    async def decode_request(self, request: Any, context: dict[str, Any]) -> str:
        """Take the last message."""
        return str(request.messages[-1].content)

    async def predict(self, prompt: str, context: dict[str, Any]) -> AsyncIterator[str]:
        """Yield the tokens."""
        async for token in stream(prompt):
            yield token

    async def encode_response(self, output: AsyncIterator[str], context: dict[str, Any]) -> AsyncIterator[Any]:
        """Yield each token as a message."""
        async for token in output:
            yield {"role": "assistant", "content": token}


if __name__ == "__main__":
    server = litserve.LitServer(
        TokenApi(spec=litserve.OpenAISpec(), enable_async=True), accelerator="cpu", timeout=False
    )
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning")
