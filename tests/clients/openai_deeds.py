"""What the chats that OpenAI's clients are tried with do alike, by the first word of a message."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chatserve import ChatContext, ChatError, ChatMessage, File

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010804000000b51c0c02"
    "0000000b4944415478da6364f80f00010501012718e3660000000049454e44ae426082"
)


@dataclass
class Asked:
    """A message after its first word, and what came with it."""

    message: str
    words: str
    history: list[dict[str, Any]]
    ctx: ChatContext
    settings: dict[str, Any]


async def tell_history(asked: Asked) -> AsyncIterator[Any]:
    yield json.dumps([[entry["role"], entry["content"]] for entry in asked.history])


async def fail(asked: Asked) -> AsyncIterator[Any]:
    if asked.words.startswith("later"):
        yield "So far so good"
    raise ValueError("a secret of the server's")


async def refuse(asked: Asked) -> AsyncIterator[Any]:
    yield None
    raise ChatError("not today", code="closed", status_code=403)


async def think(asked: Asked) -> AsyncIterator[Any]:
    thought = {"type": "reasoning", "text": "Hm, "}
    yield {"content": [thought]}
    thought["text"] += "so."
    yield {"content": [thought]}
    yield {"content": [thought, {"type": "text", "text": asked.words}]}


async def step(asked: Asked) -> AsyncIterator[Any]:
    looking = ChatMessage("in the index", metadata={"title": "Searching"})
    yield [looking]
    yield [looking, ChatMessage(asked.words)]


async def call(asked: Asked) -> AsyncIterator[Any]:
    """Call the client's tool once for each word, the arguments in pieces, as a model does."""
    name = asked.ctx.tools[0]["function"]["name"]
    for index, word in enumerate(asked.words.split()):
        function = {"name": name, "arguments": ""}
        yield chunk({"tool_calls": [{"index": index, "id": f"call_{index}", "type": "function", "function": function}]})
        for piece in ('{"city":', f' "{word}"}}'):
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
            await asyncio.sleep(0)
    yield chunk({}, "tool_calls")


async def customize(asked: Asked) -> AsyncIterator[Any]:
    """Call the client's custom tool with the words after the first, which says as what."""
    form, _, text = asked.words.partition(" ")
    (tool,) = asked.ctx.tools
    called = {"name": tool["custom"]["name"], "input": text}
    item = {"type": "custom_tool_call", "id": "ctc_1", "call_id": "call_1", **called}
    whole = {"id": "call_1", "type": "custom", "custom": called}
    halves = [text[:3], text[3:]]
    yield "Let me see."
    if form == "dict":
        yield whole
    elif form == "item":
        yield item
    elif form == "message":
        yield {"role": "assistant", "content": None, "tool_calls": [whole]}
    elif form == "chunks":
        for place, half in enumerate(halves):
            piece = {"custom": {"input": half}} if place else {**whole, "custom": {**called, "input": half}}
            yield chunk({"tool_calls": [{"index": 0, **piece}]})
    elif form == "events":
        yield event("output_item.added", item={**item, "input": ""})
        for half in halves:
            yield event("custom_tool_call_input.delta", item_id="ctc_1", delta=half)
        yield event("output_item.done", item=item)


async def look_up(asked: Asked) -> AsyncIterator[Any]:
    """Call a tool of the server's own."""
    arguments = json.dumps({"city": asked.words})
    used = {"type": "tool_call", "tool_call_id": "own_1", "name": "lookup", "arguments": arguments, "where": "server"}
    yield {"content": [used]}
    result = {"type": "tool_result", "tool_call_id": "own_1", "output": "21 degrees"}
    yield {"content": [used, result, {"type": "text", "text": "It is warm."}]}


async def draw(asked: Asked) -> AsyncIterator[Any]:
    yield ["Here you are", File(PIXEL, name="dot.png", media_type="image/png")]


async def cite(asked: Asked) -> AsyncIterator[Any]:
    source = {"type": "source", "url": "https://example.com/a", "title": "A"}
    yield {"content": [{"type": "text", "text": asked.words}, source]}


async def weigh(asked: Asked) -> AsyncIterator[Any]:
    yield {"verdict": asked.words, "weight": 3}


async def cut(asked: Asked) -> AsyncIterator[Any]:
    yield chunk({"content": asked.words})
    yield chunk({}, "length")


DEEDS = {
    "history": tell_history,
    "fail": fail,
    "refuse": refuse,
    "think": think,
    "step": step,
    "call": call,
    "custom": customize,
    "lookup": look_up,
    "draw": draw,
    "cite": cite,
    "weigh": weigh,
    "cut": cut,
}


def chunk(delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    """Return what a model's library would have given."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [choice]}


def event(kind: str, **members: Any) -> dict[str, Any]:
    """Return an event of a response, as a model's library would have given it."""
    return {"type": f"response.{kind}", "sequence_number": 1, "output_index": 0, **members}


def tell_files(message: dict[str, Any], history: list[dict[str, Any]]) -> str:
    """Tell what was sent: words, then name and size of each file, those of the history first."""
    earlier = [part["file"]["path"] for entry in history for part in entry["content"] if part["type"] == "file"]
    told = [f"{Path(path).name}:{Path(path).stat().st_size}" for path in [*earlier, *message["files"]]]
    return f"{message['text']} {' '.join(told)}".strip()
