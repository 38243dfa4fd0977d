"""What the tests of OpenAI's clients serve: a chat that does as the message says, and two smaller ones.

The first word of a message says what to do. Every message is counted, so that a test can ask how often it was answered.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

from chatserve import ChatContext, ChatServer
from tests.clients.openai_deeds import DEEDS, Asked, tell_files

app = ChatServer(title="For OpenAI's clients")
runs: Counter[str] = Counter()
stopped: Counter[str] = Counter()


@app.chat(name="assistant")
async def assistant(
    message: str, history: list[dict[str, Any]], ctx: ChatContext, temperature: float = 0.5, max_tokens: int = 100
) -> AsyncIterator[Any]:
    """Do as the message says."""
    runs[message] += 1
    verb, _, words = message.partition(" ")
    asked = Asked(message, words, history, ctx, {"temperature": temperature, "max_tokens": max_tokens})
    answer = tell_results if ctx.tool_results else ANSWERS.get(verb, say)
    async for value in answer(asked):
        yield value


async def say(asked: Asked) -> AsyncIterator[Any]:
    said = ""
    for word in asked.words.split():
        said += f"{word} "
        yield said
        await asyncio.sleep(0.01)  # longer than words are held, so that each is an event of its own
    asked.ctx.usage(3, len(asked.words.split()))


async def tell_runs(asked: Asked) -> AsyncIterator[Any]:
    yield json.dumps({"runs": runs[asked.words], "stopped": stopped[asked.words]})


async def tell_settings(asked: Asked) -> AsyncIterator[Any]:
    yield json.dumps({**asked.settings, **asked.ctx.params})


async def tell_results(asked: Asked) -> AsyncIterator[Any]:
    yield f"The tools said: {', '.join(result.output for result in asked.ctx.tool_results)}"


async def wait(asked: Asked) -> AsyncIterator[Any]:
    yield "waiting"
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        stopped[asked.message] += 1
        raise


ANSWERS = {**DEEDS, "runs": tell_runs, "settings": tell_settings, "wait": wait}

app.chat(name="pictures", multimodal=True)(tell_files)


@app.chat(name="narrow", concurrency_limit=1, max_queue=0)
async def narrow(message: str, history: list[dict[str, Any]]) -> AsyncIterator[str]:
    """Answer one client at a time, and keep none waiting."""
    yield "waiting"
    if message == "wait":
        await asyncio.sleep(60)
