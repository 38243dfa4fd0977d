"""The one chat function of the benchmarks, in every shape the servers need.

The message says what to answer: `tokens=200 pause_ms=50 delay_ms=0`. Pauses are deadlines, not sleeps added up: a
server that is late with one token does not make the next one late, so lateness shows how far a server falls behind.
Without a pause the async shape still gives way to the event loop after each token, as one that reads a model's answer
from a socket does; otherwise a whole answer would leave in one write. Knows no server.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Self

TOKEN = "quux "
"""One token. It occurs in no protocol, so that counting it in the bytes received counts the tokens delivered."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to answer: how many tokens, the pause after each, the delay before the first."""

    tokens: int = 1
    pause_s: float = 0.0
    delay_s: float = 0.0

    @classmethod
    def parse(cls, message: str) -> Self:
        """Read a message such as `tokens=200 pause_ms=50`; what it does not name keeps its default."""
        order = dict(word.split("=", 1) for word in message.split() if "=" in word)
        return cls(
            tokens=int(order.get("tokens", 1)),
            pause_s=float(order.get("pause_ms", 0)) / 1000,
            delay_s=float(order.get("delay_ms", 0)) / 1000,
        )


async def stream(message: str) -> AsyncIterator[str]:
    """Yield the tokens one by one, on the event loop."""
    order = Order.parse(message)
    due = time.monotonic() + order.delay_s
    if order.delay_s:
        await asyncio.sleep(order.delay_s)
    for _ in range(order.tokens):
        yield TOKEN
        due += order.pause_s
        await asyncio.sleep(max(0.0, due - time.monotonic()) if order.pause_s else 0)


def stream_sync(message: str) -> Iterator[str]:
    """Yield the tokens one by one, in a thread."""
    order = Order.parse(message)
    due = time.monotonic() + order.delay_s
    if order.delay_s:
        time.sleep(order.delay_s)
    for _ in range(order.tokens):
        yield TOKEN
        if order.pause_s:
            due += order.pause_s
            time.sleep(max(0.0, due - time.monotonic()))


async def whole(message: str) -> str:
    """Return the whole answer."""
    return "".join([token async for token in stream(message)])
