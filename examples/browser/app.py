"""A web page that talks to a chat: `fetch` starts a turn, `EventSource` follows it, a button stops it.

The page is index.html beside this file and needs no build step. The chat is mounted under /api of the same origin.

Run it:   uvicorn --app-dir examples/browser app:app
Ask it:   open http://127.0.0.1:8000 in a browser, or
          curl -N localhost:8000/api/chat --json '{"message": "Hello"}' -H 'Accept: text/plain'
"""

import asyncio
from pathlib import Path

from starlette.applications import Starlette
from starlette.responses import FileResponse
from starlette.routing import Mount, Route

from chatserve import ChatServer

PAGE = Path(__file__).with_name("index.html")

chat = ChatServer(title="Storyteller")


@chat.chat(yields="deltas")
async def predict(message, history):
    story = (
        f"Once upon a time somebody said “{message}”, and nobody knew what to make of it. The baker thought it was "
        "a recipe, the sailor took it for a wind, and the child wrote it down for later.\n\nYears went by. The paper "
        "was folded, lost, and found again in the pocket of a coat. Then it was read out loud, slowly, word by word, "
        f"and everybody understood. That was story number {len(history) // 2 + 1}. Shall I tell another one?"
    )
    for word in story.split(" "):
        await asyncio.sleep(0.04)
        yield word + " "


async def page(request):
    return FileResponse(PAGE)


app = Starlette(routes=[Route("/", page), Mount("/api", chat)])
