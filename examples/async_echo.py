"""An async generator that yields deltas: each piece is appended to the pieces before it.

`yields="deltas"` declares this. With `ChatContext` the function reports its progress.

Run it:   chatserve run examples/async_echo.py
Ask it:   curl -N localhost:8000/chat --json '{"message": "one two three"}' -H 'Accept: text/plain'
"""

import asyncio

from chatserve import ChatContext, ChatServer

app = ChatServer(title="Async echo")


@app.chat(yields="deltas")
async def predict(message, history, ctx: ChatContext):
    ctx.status("thinking")
    yield f"{len(history) // 2 + 1}."
    for word in message.split():
        await asyncio.sleep(0.05)
        yield f" {word}"
