"""An OpenAI-compatible endpoint on loopback: Chat Completions, streamed and whole, for the real client libraries.

It answers every request with words that tell what it was sent, and keeps the requests for the test to look at.
Source: the Chat Completions API reference (stream of `chat.completion.chunk` objects, ended by `[DONE]`).
"""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.support.asgi import serve_in_thread


@dataclass
class OpenAIEndpoint:
    """A running endpoint: `base_url` for clients, and the bodies of the requests it has answered."""

    base_url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """What makes the client libraries use this endpoint."""
        return {"OPENAI_BASE_URL": self.base_url, "OPENAI_API_KEY": "loopback", "LANGSMITH_TRACING": "false"}

    async def complete(self, request: Request) -> Response:
        body = await request.json()
        self.requests.append(body)
        words = answer_to(body["messages"])
        if body.get("stream"):
            return StreamingResponse(stream_chunks(body["model"], words), media_type="text/event-stream")
        return JSONResponse(completion(body["model"], "".join(words)))


def answer_to(messages: list[dict[str, Any]]) -> list[str]:
    """Return the words of an answer: how many messages came, and the last one."""
    return [f"{word} " for word in f"After {len(messages)} messages: {messages[-1]['content']}".split()]


async def stream_chunks(model: str, words: list[str]) -> AsyncIterator[str]:
    yield chunk(model, {"role": "assistant", "content": ""}, None)
    for word in words:
        yield chunk(model, {"content": word}, None)
    yield chunk(model, {}, "stop")
    yield "data: [DONE]\n\n"


def chunk(model: str, delta: dict[str, str], finish_reason: str | None) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return f"data: {json.dumps(_envelope(model, 'chat.completion.chunk', choice))}\n\n"


def completion(model: str, text: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    whole = _envelope(model, "chat.completion", {"index": 0, "message": message, "finish_reason": "stop"})
    return {**whole, "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}


def _envelope(model: str, kind: str, choice: dict[str, Any]) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": kind, "created": 1, "model": model, "choices": [choice]}


@contextmanager
def openai_endpoint() -> Iterator[OpenAIEndpoint]:
    """Serve an endpoint on a free port, in a thread, until the block ends."""
    endpoint = OpenAIEndpoint()
    app = Starlette(routes=[Route("/v1/chat/completions", endpoint.complete, methods=["POST"])])
    with serve_in_thread(app) as url:
        endpoint.base_url = f"{url}/v1"
        yield endpoint
