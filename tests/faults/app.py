"""The application that fault tests serve: its answers follow from the message alone, so that any test can tell them.

A message is `"<label> <words> <pause in ms>"`, e.g. `"k17 40 2"`; a label that begins with "hold" never ends by itself.
"""

import asyncio
import time
from hashlib import sha256
from typing import Any

from chatserve import ChatContext, ChatServer

app = ChatServer(title="Faults")
ODDITIES = ("", "", "", "é", "\n", "😀", "\u2028", '"\\', "\r", "</script>", "日本")


def words_of(message: str) -> list[str]:
    """Return the words of the answer to a message, each with what stands before it."""
    label, count, _ = message.split()
    return [_word(label, number) for number in range(int(count))]


def _word(label: str, number: int) -> str:
    digest = sha256(f"{label} {number}".encode()).hexdigest()
    return f"{number}{ODDITIES[int(digest[:2], 16) % len(ODDITIES)]}{digest[2 : 4 + number % 7]} "


def answer_to(message: str) -> str:
    """Return the whole answer to a message."""
    return "".join(words_of(message))


def _pause_s(message: str) -> float:
    return int(message.split()[2]) / 1000


@app.chat(name="deltas", yields="deltas", on_disconnect="continue")
async def deltas(message: str, history: list[dict[str, str]]):
    for word in words_of(message):
        yield word
        await asyncio.sleep(_pause_s(message))
    if message.startswith("hold"):
        await asyncio.Event().wait()


@app.chat(name="told", yields="deltas", on_disconnect="continue")
async def told(message: str, history: list[dict[str, str]], ctx: ChatContext):
    """Say the words, each an event of its own however fast they come, for there is another one between them."""
    for number, word in enumerate(words_of(message), 1):
        yield word
        ctx.progress(number)
        await asyncio.sleep(_pause_s(message))


@app.chat(name="snapshots")
def snapshots(message: str, history: list[dict[str, str]]):
    answer = ""
    for word in words_of(message):
        answer += word
        yield answer
        time.sleep(_pause_s(message))


@app.chat(name="whole")
async def whole(message: str, history: list[dict[str, str]]) -> str:
    await asyncio.sleep(_pause_s(message))
    return answer_to(message)


@app.chat(name="files", multimodal=True)
async def files(message: dict[str, Any], history: list[dict[str, Any]]) -> str:
    return answer_to(message["text"])
