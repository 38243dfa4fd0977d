"""A service in this process, and clients of it: one call per verb, as the owner of one's choice."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from chatserve import ChatServer
from chatserve.engine import TurnEngine

LOOPBACK = ("127.0.0.1", 50000)
WAIT_S = 10


@dataclass
class Gate:
    """What a chat function waits at."""

    reached: asyncio.Event
    opened: asyncio.Event

    async def passed(self) -> None:
        self.reached.set()
        await self.opened.wait()


@dataclass
class Service:
    """A running service. `gate` holds the answers to messages that begin with "wait"."""

    app: ChatServer
    gate: Gate
    files: Path

    @property
    def engine(self) -> TurnEngine:
        engine = self.app.engine
        assert engine is not None
        return engine

    async def until_readers(self, count: int) -> None:
        """Wait until so many streams are open; the caller bounds the wait."""
        while len(self.engine.readers) < count:
            await asyncio.sleep(0)

    async def lose_bytes(self, file_id: str) -> None:
        """Remove a file's bytes behind the server's back."""
        await self.engine.sessions._files.remove([file_id])

    async def stored_files(self) -> list[str]:
        """Return the ids of all files in the files folder, temporary ones included."""

        def ids() -> list[str]:
            walk = os.walk(self.files)  # which takes no offence at folders that go while it looks
            return sorted(Path(folder).name for folder, _, names in walk for _ in names)

        return await asyncio.to_thread(ids)

    def client(self, owner: str = "", address: tuple[str, int] = LOOPBACK) -> httpx2.AsyncClient:
        """Return a client whose requests are the owner's."""

        async def owned(scope: Any, receive: Any, send: Any) -> None:
            await self.app({**scope, "chatserve.owner": owner}, receive, send)

        transport = httpx2.ASGITransport(app=owned, client=address)
        return httpx2.AsyncClient(transport=transport, base_url="http://localhost")


@asynccontextmanager
async def serving(tmp_path: Path, store: str = "memory://", **settings: Any) -> AsyncIterator[Service]:
    """Serve three chats: `echo` (the default), `tuples_echo`, and `multi`, which takes files."""
    app = ChatServer(store=store, files_dir=str(tmp_path / "files"), **settings)
    gate = Gate(asyncio.Event(), asyncio.Event())

    async def echo(message: str, history: list[Any], loud: bool = False) -> str:
        if message.startswith("wait"):
            await gate.passed()
        words = f"{len(history)}:{message}"
        return words.upper() if loud else words

    def tuples_echo(message: str, history: list[Any]) -> str:
        return f"{history}"

    def multi(message: Any, history: list[Any]) -> Any:
        paths = [part["file"]["path"] for entry in history for part in entry["content"] if part["type"] == "file"]
        words = [Path(path).read_text() for path in [*paths, *message["files"]]]
        named = [{"type": "file", "file_id": message["text"], "name": "claimed", "size": 1}]
        return {"role": "assistant", "content": named} if message["text"].startswith("f_") else " ".join(words)

    app.chat(name="echo", feedback=("like", "dislike"))(echo)
    app.chat(name="tuples_echo", history="tuples", feedback=("1", "2"))(tuples_echo)
    app.chat(name="multi", multimodal=True)(multi)
    await app.start()
    try:
        yield Service(app, gate, tmp_path / "files")
    finally:
        gate.opened.set()
        await app.stop()


async def say(client: httpx2.AsyncClient, message: Any, session_id: str | None = None, **body: Any) -> dict[str, Any]:
    """Take one turn and return its answer."""
    chat = body.pop("chat", "echo")
    given = {"message": message, **({"session_id": session_id} if session_id else {}), **body}
    response = await client.post(f"/chat/{chat}", json=given)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    assert answer["status"] == "completed", answer
    return answer


async def say_later(client: httpx2.AsyncClient, message: str, session_id: str) -> str:
    """Start a turn, wait for nothing, and return its id."""
    body = {"message": message, "session_id": session_id}
    response = await client.post("/chat", json=body, headers={"prefer": "respond-async"})
    assert response.status_code == 202, response.text
    turn_id: str = response.json()["turn_id"]
    return turn_id


async def history(client: httpx2.AsyncClient, session_id: str, **params: Any) -> list[Any]:
    """Return the messages of a session as (role, content), or in the format asked for."""
    response = await client.get(f"/sessions/{session_id}/messages", params=params)
    assert response.status_code == 200, response.text
    items: list[Any] = response.json()["items"]
    return items if "format" in params else [(item["role"], item["content"]) for item in items]


async def message_ids(client: httpx2.AsyncClient, session_id: str) -> list[str]:
    """Return the ids of the messages of the current branch."""
    return [item["message_id"] for item in await history(client, session_id, format="messages")]


def problem(response: httpx2.Response) -> tuple[int, str]:
    """Return status and code of a problem document."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    assert response.json()["status"] == response.status_code
    return response.status_code, response.json()["code"]
