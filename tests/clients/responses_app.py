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

from chatserve import ChatContext, ChatServer
from tests.clients.openai_deeds import DEEDS, Asked, tell_files

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
    asked = Asked(message, words, history, ctx, {"temperature": temperature})
    async for value in ANSWERS.get(verb, say)(asked):
        yield value


async def say(asked: Asked) -> AsyncIterator[Any]:
    pieces = asked.words.split(" ")
    for end in range(1, len(pieces) + 1):
        yield " ".join(pieces[:end])
        await asyncio.sleep(0.01)  # longer than words are held, so that each is an event of its own
    asked.ctx.usage(3, len(pieces))


async def hold(asked: Asked) -> AsyncIterator[Any]:
    """Say a first piece, wait for a file, say the rest."""
    folder, _, rest = asked.words.partition(" ")
    yield "one two"
    while not Path(folder, "go").exists():
        await asyncio.sleep(0.005)
    yield f"one two {rest}"


async def tell_settings(asked: Asked) -> AsyncIterator[Any]:
    yield json.dumps({**asked.settings, "params": asked.ctx.params, "tools": list(asked.ctx.tools)})


async def tell_runs(asked: Asked) -> AsyncIterator[Any]:
    yield str(runs[asked.words])


ANSWERS = {**DEEDS, "hold": hold, "settings": tell_settings, "runs": tell_runs}

app.chat(name="pictures", multimodal=True)(tell_files)


@app.chat(name="limited")
def tell_limit(message: str, history: list[dict[str, Any]], max_completion_tokens: int = 0) -> str:
    return str(max_completion_tokens)
