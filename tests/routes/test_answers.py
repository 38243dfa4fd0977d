"""How a turn is answered: what the client accepts, as RFC 9110 has it, and what it asks for otherwise."""

import asyncio
from pathlib import Path
from typing import Any

import httpx2
import pytest

from chatserve.routes.http.media_types import choose_media_type
from tests.routes.service import WAIT_S, problem, serving

EVENTS, JSON, WORDS = "text/event-stream", "application/json", "text/plain"
OFFERS = (EVENTS, JSON, WORDS)


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", JSON),
        ("*/*", JSON),
        ("*/*;q=0.1", JSON),
        (EVENTS, EVENTS),
        (WORDS, WORDS),
        ("TEXT/PLAIN", WORDS),
        ("Text/Event-Stream", EVENTS),
        ("text/event-stream; charset=UTF-8", EVENTS),
        ('text/event-stream;charset="utf-8"', EVENTS),
        ("text/event-stream;q=0", JSON),
        ("text/event-stream;q=0, */*", JSON),
        ("text/event-stream ; Q=0.000 , text/plain", WORDS),
        ("text/event-stream;q=0.5, text/plain;q=0.6", WORDS),
        ("text/event-stream;q=0.4, application/json;q=0.5, text/plain;q=0.3", JSON),
        ("text/*", EVENTS),
        ("text/*;q=0.5, text/event-stream;q=0.2", WORDS),
        ("text/*, text/event-stream;q=0", WORDS),
        ("application/*", JSON),
        ("text/plain, */*", WORDS),
        ("text/plain;q=0.5, */*", JSON),
        ("application/json, text/plain, */*", JSON),
        ("application/json, text/event-stream", EVENTS),
        ("image/png", JSON),
        ("text/plain;format=flowed", JSON),
        ("text/plain;charset=latin-1", JSON),
        ("text/plain;q=2", JSON),
        ("text/plain;q=", JSON),
        ("plain, text/, /plain, ;q=1, ,, text/plain;q=0.1", WORDS),
        ('x/y;a="text/event-stream, text/plain"', JSON),
        ("*/plain", JSON),
        ("é, " + WORDS, WORDS),
    ],
)
def test_accept_is_read_as_its_specification_says(accept: str, chosen: str) -> None:
    assert choose_media_type(accept, OFFERS, JSON) == chosen


async def ask(client: httpx2.AsyncClient, accept: Any = None, **body: Any) -> str:
    """Return the media type of the answer."""
    headers = [("accept", each) for each in accept or ()]
    answer = await client.post("/chat", json={"message": "hi", **body}, headers=headers)
    assert answer.status_code == 200
    media_type: str = answer.headers["content-type"].partition(";")[0]
    return media_type


@pytest.mark.parametrize(
    ("accept", "stream", "media_type"),
    [
        (None, None, JSON),
        (["*/*"], None, JSON),
        (["text/event-stream;q=0"], None, JSON),
        (["TEXT/PLAIN"], None, WORDS),
        (["application/json;q=0.5", "text/plain"], None, WORDS),
        (["text/plain"], True, EVENTS),
        (["text/event-stream;q=0"], True, EVENTS),
        (["text/event-stream"], False, JSON),
        (["text/event-stream, text/plain"], False, WORDS),
    ],
)
async def test_answer_is_what_the_client_wants(
    tmp_path: Path, accept: Any, stream: bool | None, media_type: str
) -> None:
    async with serving(tmp_path) as service, service.client() as client:
        client.headers.pop("accept")
        assert await ask(client, accept, **({} if stream is None else {"stream": stream})) == media_type


@pytest.mark.parametrize("accept", ["*/*", "text/plain", "application/json", "text/event-stream;q=0"])
async def test_streams_that_are_followed_are_events_whatever_else_is_accepted(tmp_path: Path, accept: str) -> None:
    async with serving(tmp_path) as service, service.client() as client:
        turn_id = (await client.post("/chat", json={"message": "hi"})).json()["turn_id"]
        followed = await client.get(f"/turns/{turn_id}/events", headers={"accept": accept})
    assert followed.headers["content-type"].startswith(EVENTS)
    assert "event: done" in followed.text


# --- words, of which the head waits for the first ---------------------------------------------------------------------


async def test_words_that_have_not_begun_when_the_server_goes_are_refused(tmp_path: Path) -> None:
    async with serving(tmp_path) as service, service.client() as client, asyncio.timeout(WAIT_S):
        asking = asyncio.ensure_future(client.post("/chat", json={"message": "wait"}, headers={"accept": WORDS}))
        await service.gate.reached.wait()
        service.engine.readers.say_bye()
        assert problem(await asking) == (503, "shutting_down")
        assert len(service.engine.readers) == 0


@pytest.mark.parametrize("accept", [WORDS, EVENTS, JSON])
@pytest.mark.parametrize(("policy", "status"), [("stop", "stopped"), ("continue", "completed")])
async def test_client_that_leaves_before_its_answer_began_is_as_one_that_leaves_later(
    tmp_path: Path, accept: str, policy: str, status: str
) -> None:
    body = b'{"message": "wait", "on_disconnect": "%b"}' % policy.encode()
    messages = [{"type": "http.request", "body": body, "more_body": False}]
    async with serving(tmp_path) as service, asyncio.timeout(WAIT_S):

        async def receive() -> dict[str, Any]:
            if messages:
                return messages.pop()
            await service.gate.reached.wait()
            await asyncio.sleep(0.3)  # as long as a waiting answer takes to look whether its client is there
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            pass

        fields = {"host": "localhost", "content-type": JSON, "accept": accept}
        headers = [(name.encode(), value.encode()) for name, value in fields.items()]
        head = {"method": "POST", "path": "/chat", "query_string": b"", "headers": headers, "root_path": ""}
        await service.app({"type": "http", "client": ("127.0.0.1", 1), **head}, receive, send)
        assert len(service.engine.readers) == 0
        if policy == "continue":
            service.gate.opened.set()
        while service.engine.open_turns:
            await asyncio.sleep(0)
        (session,) = (await service.engine.store.list_sessions("", after=None, limit=9)).items
        record = await service.engine.store.last_turn("", session.session_id)
        assert record is not None
        assert record.turn.status == status


async def test_waiting_for_an_answer_counts_as_reading_it(tmp_path: Path) -> None:
    async with serving(tmp_path, max_readers=1, abandon_grace_s=0) as service, service.client() as client:
        async with asyncio.timeout(WAIT_S):
            asking = asyncio.ensure_future(client.post("/chat", json={"message": "wait"}))
            await service.until_readers(1)
            refused = await client.post("/chat", json={"message": "hi", "stream": True})
            assert problem(refused) == (503, "overloaded")
            await asyncio.sleep(0.05)
            service.gate.opened.set()
            assert (await asking).json()["status"] == "completed"
            assert len(service.engine.readers) == 0
