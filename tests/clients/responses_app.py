"""What the tests of Responses serve: one chat that does as the message says, and one that takes files.

The first word of a message says what to do. Every message is counted, so that a test can ask how often it was answered.
`hold` waits for the file of its name, so that a test says when an answer goes on.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from chatserve import ChatContext, ChatError, ChatMessage, ChatServer, File

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010804000000b51c0c02"
    "0000000b4944415478da6364f80f00010501012718e3660000000049454e44ae426082"
)

app = ChatServer(title="For clients of Responses")
runs: Counter[str] = Counter()


@app.chat(name="assistant")
async def assistant(
    message: str, history: list[dict[str, Any]], ctx: ChatContext, temperature: float = 0.5
) -> AsyncIterator[Any]:
    """Do as the message says."""
    runs[message] += 1
    verb, _, words = message.partition(" ")
    if ctx.tool_results:
        verb, words = "say", f"The tools said: {', '.join(result.output for result in ctx.tool_results)}"
    async for value in ANSWERS.get(verb, say)(words, history, ctx, temperature):
        yield value


async def say(words: str, history: list[Any], ctx: ChatContext, temperature: float) -> AsyncIterator[Any]:
    pieces = words.split(" ")
    for end in range(1, len(pieces) + 1):
        yield " ".join(pieces[:end])
        await asyncio.sleep(0)
    ctx.usage(3, len(pieces))


async def hold(words: str, history: list[Any], ctx: ChatContext, temperature: float) -> AsyncIterator[Any]:
    """Say a first piece, wait for a file, say the rest."""
    folder, _, rest = words.partition(" ")
    yield "one two"
    while not Path(folder, "go").exists():
        await asyncio.sleep(0.005)
    yield f"one two {rest}"


async def tell_history(words: str, history: list[Any], ctx: ChatContext, temperature: float) -> AsyncIterator[Any]:
    yield json.dumps([[entry["role"], entry["content"]] for entry in history])


async def tell_settings(words: str, history: list[Any], ctx: ChatContext, temperature: float) -> AsyncIterator[Any]:
    yield json.dumps({"temperature": temperature, "params": ctx.params, "tools": list(ctx.tools)})


async def tell_runs(words: str, history: list[Any], ctx: ChatContext, temperature: float) -> AsyncIterator[Any]:
    yield str(runs[words])


async def think(words: str, history: list[Any], ctx: ChatContext, temperature: float) -> AsyncIterator[Any]:
    thought = {"type": "reasoning", "text": "Hm, "}
    yield {"content": [thought]}
    thought["text"] += "so."
    yield {"content": [thought]}
    yield {"content": [thought, {"type": "text", "text": words}]}


async def step(words: str, history: list[Any], ctx: ChatContext, temperature: float) -> AsyncIterator[Any]:
    looking = ChatMessage("in the index", metadata={"title": "Searching"})
    yield [looking]
    yield [looking, ChatMessage(words)]


async def call(words: str, history: list[Any], ctx: ChatContext, temperature: float) -> AsyncIterator[Any]:
    """Call the client's tool once for each word, the arguments in pieces, as a model does."""
    name = ctx.tools[0]["function"]["name"]
    for index, word in enumerate(words.split()):
        function = {"name": name, "arguments": ""}
        yield chunk({"tool_calls": [{"index": index, "id": f"call_{index}", "type": "function", "function": function}]})
        for piece in ('{"city":', f' "{word}"}}'):
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
            await asyncio.sleep(0)
    yield chunk({}, "tool_calls")


async def look_up(words: str, history: list[Any], ctx: ChatContext, temperature: float) -> AsyncIterator[Any]:
    """Call a tool of the server's own."""
    arguments = json.dumps({"city": words})
    used = {"type": "tool_call", "tool_call_id": "own_1", "name": "lookup", "arguments": arguments, "where": "server"}
    yield {"content": [used]}
    result = {"type": "tool_result", "tool_call_id": "own_1", "output": "21 degrees"}
    yield {"content": [used, result, {"type": "text", "text": "It is warm."}]}


async def cite(words: str, history: list[Any], ctx: ChatContext, temperature: float) -> AsyncIterator[Any]:
    source = {"type": "source", "url": "https://example.com/a", "title": "A"}
    yield {"content": [{"type": "text", "text": words}, source]}


async def draw(words: str, history: list[Any], ctx: ChatContext, temperature: float) -> AsyncIterator[Any]:
    yield ["Here you are", File(PIXEL, name="dot.png", media_type="image/png")]


async def weigh(words: str, history: list[Any], ctx: ChatContext, temperature: float) -> AsyncIterator[Any]:
    yield {"verdict": words, "weight": 3}


async def cut(words: str, history: list[Any], ctx: ChatContext, temperature: float) -> AsyncIterator[Any]:
    yield chunk({"content": words})
    yield chunk({}, "length")


async def fail(words: str, history: list[Any], ctx: ChatContext, temperature: float) -> AsyncIterator[Any]:
    if words.startswith("later"):
        yield "So far so good"
    raise ValueError("a secret of the server's")


async def refuse(words: str, history: list[Any], ctx: ChatContext, temperature: float) -> AsyncIterator[Any]:
    yield None
    raise ChatError("not today", code="closed", status_code=403)


ANSWERS = {
    "hold": hold,
    "history": tell_history,
    "settings": tell_settings,
    "runs": tell_runs,
    "think": think,
    "step": step,
    "call": call,
    "lookup": look_up,
    "cite": cite,
    "draw": draw,
    "weigh": weigh,
    "cut": cut,
    "fail": fail,
    "refuse": refuse,
}


def chunk(delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    """Return what a model's library would have given."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [choice]}


@app.chat(name="pictures", multimodal=True)
def pictures(message: dict[str, Any], history: list[dict[str, Any]]) -> str:
    """Tell what was sent: words, then name and size of each file, those of the history first."""
    earlier = [part["file"]["path"] for entry in history for part in entry["content"] if part["type"] == "file"]
    told = [f"{Path(path).name}:{Path(path).stat().st_size}" for path in [*earlier, *message["files"]]]
    return f"{message['text']} {' '.join(told)}".strip()
