"""A turn costs what is new in it, however long the session is: counted in steps, for clocks are not to be trusted."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from chatserve import ChatServer
from chatserve.formats.history import HISTORY_FORMATS

SHORT, LONG = 10, 10_000
TURNS = 5
MOST = 1.5


@dataclass
class Work:
    """What a session has cost so far."""

    sql_steps: int = 0
    rendered: int = 0


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Work]:
    """Count the instructions SQLite runs, in all its connections, and the messages rendered for chat functions."""
    work = Work()
    connect, messages_format = sqlite3.connect, type(HISTORY_FORMATS["messages"])
    render = messages_format.render

    def step() -> int:
        work.sql_steps += 1
        return 0

    def counting_connect(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        db = connect(*args, **kwargs)
        db.set_progress_handler(step, 1)
        return db

    def counting_render(self: Any, messages: Any, options: Any) -> Any:
        work.rendered += len(messages)
        return render(self, messages, options)

    with monkeypatch.context() as patched:
        patched.setattr(sqlite3, "connect", counting_connect)
        patched.setattr(messages_format, "render", counting_render)
        yield work


async def cost_of_turns(app: ChatServer, work: Work, messages: int) -> Work:
    """Return what some turns cost in a session that has so many messages, the first turn aside: it reads them."""
    history = [
        {"role": ("user", "assistant")[number % 2], "content": f"message {number}"} for number in range(messages)
    ]
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost", timeout=30) as client:
        session_id = (await client.post("/sessions", json={"history": history})).json()["session_id"]
        for turn in range(1 + TURNS):
            if turn == 1:
                before = Work(work.sql_steps, work.rendered)
            answer = await client.post("/chat", json={"message": "hi", "session_id": session_id})
            assert answer.json()["text"] == f"{messages + 2 * turn} message 0"
    return Work(work.sql_steps - before.sql_steps, work.rendered - before.rendered)


async def test_turn_in_a_long_session_does_the_work_of_one_in_a_short_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = ChatServer(store=f"sqlite:///{tmp_path}/chat.db")

    @app.chat
    async def predict(message: str, history: list[dict[str, str]]) -> str:
        return f"{len(history)} {history[0]['content']}"

    with counted(monkeypatch) as work:
        await app.start()
        try:
            short = await cost_of_turns(app, work, SHORT)
            long = await cost_of_turns(app, work, LONG)
        finally:
            await app.stop()
    assert short.rendered == long.rendered == 2 * TURNS
    assert 0 < long.sql_steps <= MOST * short.sql_steps
