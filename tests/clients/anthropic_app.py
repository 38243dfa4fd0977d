"""What the tests of Anthropic's clients serve: one chat that does as the message says, one that takes files.

The first word of a message says what to do. Every message is counted, so that a test can ask how often it was answered.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from chatserve import ChatContext, ChatError, ChatMessage, ChatServer

app = ChatServer(title="For Anthropic's clients")
runs: Counter[str] = Counter()
ended: Counter[str] = Counter()


@app.chat(name="assistant")
async def assistant(
    message: str, history: list[dict[str, Any]], ctx: ChatContext, temperature: float = 0.5
) -> AsyncIterator[Any]:
    """Do as the message says."""
    runs[message] += 1
    verb, _, words = message.partition(" ")
    try:
        if ctx.tool_results:
            yield f"The tools said: {', '.join(str(result.output) for result in ctx.tool_results)}"
        elif verb in REPORTS:
            yield json.dumps(REPORTS[verb](words, history, ctx, temperature))
        else:
            async for value in DEEDS.get(verb, say)(words):
                yield value
            ctx.usage(input_tokens=12, output_tokens=3)
    finally:
        ended[message] += 1


REPORTS: dict[str, Callable[..., Any]] = {
    "runs": lambda words, *_: [runs[words], ended[words]],
    "history": lambda _words, history, *_: [[entry["role"], entry["content"]] for entry in history],
    "settings": lambda _words, _history, ctx, temperature: {**ctx.params, "temperature": temperature},
    "tools": lambda _words, _history, ctx, *_: ctx.tools,
    "session": lambda _words, _history, ctx, *_: ctx.session.id,
}


async def say(words: str) -> AsyncIterator[Any]:
    said = ""
    for word in words.split():
        said += f"{word} "
        yield said
        await asyncio.sleep(0.01)  # longer than words are held, so that each is an event of its own


async def think(words: str) -> AsyncIterator[Any]:
    thought = ChatMessage("so many words", metadata={"title": "Counting"})
    yield [thought]
    yield [thought, f"{len(words.split())} words"]


async def call(words: str) -> AsyncIterator[Any]:
    """Ask for the weather of each city, in pieces, all at the same time."""
    cities = words.split()
    for number, city in enumerate(cities):
        yield _piece(number, '{"city": ', id=f"call_{city}", name="weather")
    for number, city in enumerate(cities):
        yield _piece(number, f'"{city}"}}')


def _piece(index: int, arguments: str, **head: str) -> dict[str, Any]:
    function = {"name": head.get("name"), "arguments": arguments}
    delta = {"tool_calls": [{"index": index, "id": head.get("id"), "type": "function", "function": function}]}
    return {"id": "x", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta}]}


async def fail(words: str) -> AsyncIterator[Any]:
    if words.startswith("later"):
        yield "So far"
        await asyncio.sleep(0)
    raise ChatError("The library is closed.", code="library_closed", status_code=int(words.split()[-1]))


async def wait(_words: str) -> AsyncIterator[Any]:
    yield "I wait"
    await asyncio.Event().wait()


DEEDS = {"think": think, "call": call, "fail": fail, "wait": wait}


@app.chat(name="reader", multimodal=True)
def reader(message: dict[str, Any], history: list[Any]) -> str:
    """Tell of the files that came."""
    told = [f"{Path(path).name} of {Path(path).stat().st_size} bytes" for path in message["files"]]
    return f"{message['text']}: {', '.join(told)}"
