"""The chats that Gradio's clients are tried with. `slow` has one place for all; its stops can be asked for."""

import asyncio
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from chatserve import ChatError, ChatMessage, ChatServer

STEP_S = 0.01
"""Between two yields: long enough that none is merged with the next."""


class Error(Exception):
    """What `gr.Error` is to a server that does not import Gradio."""

    __module__ = "gradio.exceptions"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message, self.title, self.duration, self.visible = message, "Wallet", 3, True


app = ChatServer(title="Clients", ping_interval_s=1)


@app.chat
async def speak(
    message: str,
    history: list[Any],
    tone: Literal["calm", "loud"] = "calm",
    times: Annotated[int, Field(ge=1, le=3)] = 1,
) -> Any:
    """Say the number of the turn and the message back, letter by letter."""
    if message == "refuse":
        raise ChatError("no words left", code="no_words")
    if message == "gradio":
        raise Error("no coins left")
    if message == "break":
        raise ValueError("secret")
    words = f"{len(history) // 2}:{message * times}"
    words = words.upper() if tone == "loud" else words
    for end in range(1, len(words) + 1):
        yield words[:end]
        await asyncio.sleep(STEP_S)
        if message == "late" and end == 4:
            raise ChatError("half way", code="half")


@app.chat
async def whole(message: str, history: list[Any]) -> str:
    return f"whole {message}"


@app.chat
async def think(message: str, history: list[Any]) -> Any:
    thought = ChatMessage("looking", metadata={"title": "Search", "status": "pending"})
    yield [thought]
    await asyncio.sleep(STEP_S)
    thought.metadata["status"] = "done"
    yield [thought]
    for end in (3, 6):
        await asyncio.sleep(STEP_S)
        yield [thought, ChatMessage("answer"[:end])]


@app.chat
async def shapes(message: str, history: list[Any]) -> Any:
    """Yield the values of a kind one after the other."""
    question = ChatMessage("Q?", options=[{"value": "yes"}, {"value": "no"}])
    looking, found = ChatMessage("looking", metadata={"title": "Search"}), ChatMessage("found")
    kinds: dict[str, Any] = {
        "options": [question],
        "list": [[looking, found]],
        "lists": [["one"], ["one", "two"], [ChatMessage("three")], ["three", question]],
        "mixed": ["text", [looking], "text again"],
    }
    for value in kinds[message]:
        yield value
        await asyncio.sleep(STEP_S)


@app.chat(multimodal=True)
def files(message: dict[str, Any], history: list[Any]) -> Any:
    """Say what the files hold; `loud`: give the first one back in capitals; `with words`: the same in a message."""
    if message["text"] not in ("loud", "with words"):
        return f"{message['text']}: {[Path(path).read_text() for path in message['files']]}"
    first = Path(message["files"][0])
    loud = first.with_name("loud words.txt")
    loud.write_text(first.read_text().upper())
    return loud if message["text"] == "loud" else ChatMessage(["Here it is:", loud])


@app.chat(concurrency_limit=1)
async def slow(message: str, history: list[Any]) -> Any:
    for number in range(1, 10 if message == "brief" else 10_000):
        yield f"{message} {number}"
        await asyncio.sleep(STEP_S)


@app.chat
async def pause(message: str, history: list[Any]) -> Any:
    """Be silent for longer than a ping takes."""
    yield "one"
    await asyncio.sleep(2.5)
    yield "one two"
