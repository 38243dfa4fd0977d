"""FastAPI's own server-sent events with one SQLite insert per delta: durable, and written in an afternoon.

`POST /chat` streams, `POST /answer` waits and stores the answer in one row.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator
from uuid import uuid4

from fastapi import FastAPI
from fastapi.sse import EventSourceResponse
from pydantic import BaseModel

from benchmarks.servers.answer import stream, whole

INSERT = "INSERT INTO events (session_id, seq, text) VALUES (?, ?, ?)"


class Question(BaseModel):
    """The body of both requests."""

    message: str


class Delta(BaseModel):
    """One event."""

    seq: int
    text: str


def open_database(path: str) -> sqlite3.Connection:
    """Return a connection that commits each statement, with SQLite's write-ahead log on."""
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=NORMAL")
    database.execute("CREATE TABLE IF NOT EXISTS events (session_id TEXT, seq INTEGER, text TEXT)")
    return database


app = FastAPI()
database = open_database(os.environ["BENCH_DATABASE"])


@app.post("/chat", response_class=EventSourceResponse)
async def chat(question: Question) -> AsyncIterator[Delta]:
    """Store and send each delta."""
    session_id, seq = uuid4().hex, 0
    async for token in stream(question.message):
        seq += 1
        database.execute(INSERT, (session_id, seq, token))
        yield Delta(seq=seq, text=token)


@app.post("/answer")
async def answer(question: Question) -> Delta:
    """Store and send the whole answer."""
    text = await whole(question.message)
    database.execute(INSERT, (uuid4().hex, 1, text))
    return Delta(seq=1, text=text)
