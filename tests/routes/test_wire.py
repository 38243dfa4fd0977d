"""What is done for wire formats, tried with a small format of the test's own: steps, replies, errors, sessions."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message

from chatserve import app as app_module
from chatserve.codec import dumps_line
from chatserve.contracts.formats import ParsedMessage
from chatserve.contracts.streams import OfNothing, OfSession, OfTurn, StreamForm, StreamReply
from chatserve.contracts.turns import TurnCall
from chatserve.contracts.wire import (
    ChangeSession,
    CreateSession,
    DeleteSession,
    Endpoint,
    FileReply,
    FindFiles,
    FindFirstSeq,
    FindLastTurn,
    FindSession,
    FindTurn,
    ForgetTurn,
    Handling,
    JsonReply,
    KeepFile,
    Pause,
    RawRequest,
    ReadBranch,
    ReplaceHistory,
    StopSession,
    StopTurn,
    Submit,
    Wait,
)
from chatserve.core.errors import ChatserveError
from chatserve.core.events import Delta, Done, NumberedEvent
from chatserve.core.types import TextPart
from chatserve.formats.shared.appended import TextAdded, tell_whole
from chatserve.formats.wire import WIRE_FORMATS
from chatserve.routes.http.given import place_of_key
from chatserve.settings import Settings
from tests.routes.service import WAIT_S, Service, serving


class WordsEncoder:
    """Words as data lines; a session's stream ends with the first turn that does."""

    is_per_turn = True

    def __init__(self) -> None:
        self.is_complete = False

    def encode(self, numbered: NumberedEvent) -> bytes:
        if self.is_complete:
            return b""
        match numbered.event:
            case Delta(text):
                return b"data: %b\n\n" % dumps_line(text)
            case Done(_, status):
                self.is_complete = True
                return b"data: [%b]\n\n" % status.encode()
            case _:
                return b""

    def farewell(self) -> bytes:
        return b"data: [gone]\n\n"


def said(text: str) -> tuple[ParsedMessage, ...]:
    return (ParsedMessage("user", (TextPart(text),)),)


def ask(request: RawRequest) -> Handling:
    body = request.json_object()
    call = TurnCall(
        body.get("chat", "echo"),
        body.get("text", ""),
        session_key=body.get("session"),
        is_kept=body.get("keep", True),
        history=None if "history" not in body else said(body["history"]),
        target_message_id=body.get("after"),
        on_disconnect=body.get("on_disconnect"),
        is_detached=body.get("detached", False),
        params={"seen": body},
        echo={"model": "echo"},
    )
    started = yield from Submit(call)
    if body.get("stream"):
        return StreamReply(OfTurn(started.turn_id), WordsEncoder(), headers={"x-own": "1"})
    if call.is_detached:
        return JsonReply({"turn_id": started.turn_id}, 202)
    record = yield from Wait(started.turn_id)
    words = "".join(each.text for each in tell_whole(record) if isinstance(each, TextAdded))
    return JsonReply({"words": words, "session_id": started.session_id, "turn_id": started.turn_id})


def read(request: RawRequest) -> Handling:
    record = yield from FindTurn(request.path_params["turn_id"])
    if request.query.get("stream"):
        return StreamReply(OfTurn(record.turn.turn_id), WordsEncoder())
    return JsonReply({"status": record.turn.status, "echo": record.turn.echo})


def stop(request: RawRequest) -> Handling:
    record = yield from StopTurn(request.path_params["turn_id"])
    return JsonReply({"status": record.turn.status})


def forget(request: RawRequest) -> Handling:
    left = yield from ForgetTurn(request.path_params["turn_id"])
    return JsonReply({"left": left})


def sessions(request: RawRequest) -> Handling:
    body = request.json_object()
    session = yield from CreateSession("Title", body.get("metadata", {}), said("first"))
    key = session.session_id
    yield from ChangeSession(key, {"changed": True})
    yield from ReplaceHistory(key, (*(yield from ReadBranch(key)), *said("second")))
    branch = yield from ReadBranch(key)
    found = yield from FindSession(key)
    yield from StopSession(key)
    yield from DeleteSession(key)
    return JsonReply({"texts": [message.text for message in branch], "metadata": dict(found.metadata), "id": key})


class Receipt:
    """Notes when a stream was sent to its end."""

    def __init__(self) -> None:
        self.completed_at: list[float] = []

    def complete(self, now: float) -> None:
        self.completed_at.append(now)


RECEIPTS: dict[str, Receipt] = {}


def session_stream(request: RawRequest) -> Handling:
    """Stream a session from the beginning of its last turn, until that turn has ended."""
    key = request.path_params["key"]
    record = yield from FindLastTurn(key)
    assert record is not None
    yield from Pause(0)
    first_seq = yield from FindFirstSeq(key)
    return StreamReply(
        OfSession(record.turn.session_id, (record.turn.first_seq or first_seq) - 1),
        WordsEncoder(),
        form=StreamForm(ending=b"data: [end]\n\n"),
        opening=b"data: [begin]\n\n",
        serves=[record.turn.turn_id],
        delivery=RECEIPTS.setdefault(key, Receipt()),
    )


def pulse(request: RawRequest) -> Handling:
    yield from ()
    return StreamReply(OfNothing(), Silence(), form=StreamForm(ping=b"data: ALIVE\n\n"), opening=b"data: ALIVE\n\n")


class Silence:
    """Says nothing."""

    is_per_turn = False
    is_complete = False

    def encode(self, numbered: NumberedEvent) -> bytes:
        raise AssertionError("there is nothing to say")

    def farewell(self) -> bytes:
        return b""


def uploads(request: RawRequest) -> Handling:
    yield from ()
    return JsonReply([file.file_id for file in request.files])


def embed(request: RawRequest) -> Handling:
    file = yield from KeepFile(request.body, "a.txt", "text/plain")
    (same,) = yield from FindFiles((file.file_id,))
    return JsonReply({"id": file.file_id, "size": same.size})


def download(request: RawRequest) -> Handling:
    yield from ()
    return FileReply(request.path_params["file_id"])


def plain(request: RawRequest) -> Handling:
    yield from ()
    return JsonReply({"who": "plain", "chats": list(request.chats), "base": request.base_url})


def special(request: RawRequest) -> Handling:
    yield from ()
    return JsonReply({"who": "special"})


class Words:
    """A format with one endpoint for each thing the routes can do."""

    name = "words"
    client_header: str | None = None
    endpoints = (
        Endpoint("POST", "/words/ask", "ask", ask),
        Endpoint("GET", "/words/turns/{turn_id}", "read", read),
        Endpoint("POST", "/words/turns/{turn_id}/stop", "stop", stop),
        Endpoint("DELETE", "/words/turns/{turn_id}", "forget", forget),
        Endpoint("POST", "/words/sessions", "sessions", sessions),
        Endpoint("GET", "/words/sessions/{key}", "a session's stream", session_stream),
        Endpoint("GET", "/words/pulse", "pulse", pulse),
        Endpoint("POST", "/words/uploads", "uploads", uploads, takes="files"),
        Endpoint("POST", "/words/embed", "embed", embed),
        Endpoint("GET", "/words/file={file_id}", "download", download),
        Endpoint("GET", "/words/who", "who", plain),
    )

    def refuse(self, error: ChatserveError, request: RawRequest) -> JsonReply:
        return JsonReply({"refused": error.code, "detail": error.detail}, error.status_code, error.headers)


class Special:
    """Another format at the same path, for those who say so in a header."""

    name = "special"
    client_header: str | None = None
    endpoints = (Endpoint("GET", "/words/who", "who", special, header="x-special"),)

    def refuse(self, error: ChatserveError, request: RawRequest) -> JsonReply:
        raise AssertionError("it never refuses")


@asynccontextmanager
async def speaking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: str = "memory://", **settings: Any
) -> AsyncIterator[Service]:
    formats = {**WIRE_FORMATS, "words": lambda _: Words(), "special": lambda _: Special(), "off": lambda _: Words()}
    monkeypatch.setattr(app_module, "WIRE_FORMATS", formats)
    async with serving(tmp_path, store, protocols=("words", "special"), **settings) as service:
        yield service


async def until_ended(service: Service) -> None:
    """Wait until no turn is open; the caller bounds the wait."""
    for turn in service.engine.open_turns:
        await turn.ended.wait()


async def leave(service: Service, path: str) -> None:
    """Open a stream, and leave."""

    async def receive() -> dict[str, str]:
        await service.until_readers(1)
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        pass

    head = {"method": "GET", "path": path, "query_string": b"", "headers": [(b"host", b"localhost")]}
    await service.app({"type": "http", "client": ("127.0.0.1", 1), "root_path": "", **head}, receive, send)


# turns


async def test_complete_answer_and_stream_say_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with speaking(tmp_path, monkeypatch) as service, service.client() as client:
        whole = await client.post("/words/ask", json={"text": "hi"})
        stream = await client.post("/words/ask", json={"text": "hi", "stream": True})
    assert whole.json()["words"] == "0:hi"
    assert stream.text == 'data: "0:hi"\n\ndata: [completed]\n\n'
    assert stream.headers["content-type"].startswith("text/event-stream")
    assert stream.headers["x-own"] == "1"
    assert stream.headers["x-session-id"] != whole.headers["x-session-id"]


async def test_turn_without_a_session_keeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with speaking(tmp_path, monkeypatch) as service, service.client() as client:
        answer = await client.post("/words/ask", json={"text": "hi", "keep": False, "history": "before"})
        assert answer.json() | {"turn_id": ""} == {"words": "1:hi", "session_id": "", "turn_id": ""}
        assert "x-session-id" not in answer.headers
        assert (await client.get("/sessions")).json()["items"] == []


async def test_history_that_was_sent_replaces_the_stored_branch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with speaking(tmp_path, monkeypatch) as service, service.client() as client:
        session_id = (await client.post("/words/ask", json={"text": "a"})).json()["session_id"]
        await client.post("/words/ask", json={"text": "b", "session": session_id, "history": "other"})
        messages = (await client.get(f"/sessions/{session_id}/messages")).json()["items"]
    assert [message["content"] for message in messages] == ["other", "b", "1:b"]


async def test_message_may_follow_an_earlier_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with speaking(tmp_path, monkeypatch) as service, service.client() as client:
        first = (await client.post("/chat", json={"message": "a"})).json()
        session_id, after = first["session_id"], first["messages"][-1]["message_id"]
        for text in ("b", "c"):
            ask_behind = {"text": text, "session": session_id, "after": after}
            assert (await client.post("/words/ask", json=ask_behind)).json()["words"] == f"2:{text}"


async def test_turn_can_be_read_and_streamed_again_and_knows_its_echo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with speaking(tmp_path, monkeypatch) as service, service.client() as client:
        path = f"/words/turns/{(await client.post('/words/ask', json={'text': 'hi'})).json()['turn_id']}"
        assert (await client.get(path)).json() == {"status": "completed", "echo": {"model": "echo"}}
        assert (await client.get(path, params={"stream": "1"})).text == 'data: "0:hi"\n\ndata: [completed]\n\n'


async def test_turn_whose_log_is_gone_is_streamed_from_its_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = f"sqlite:///{tmp_path}/chat.db"
    async with speaking(tmp_path, monkeypatch, store, log_retention_s=0) as service, service.client() as client:
        turn_id = (await client.post("/words/ask", json={"text": "hi"})).json()["turn_id"]
    async with speaking(tmp_path, monkeypatch, store, log_retention_s=0) as service, service.client() as client:
        await service.engine.sessions.purge()
        assert (await client.get(f"/words/turns/{turn_id}?stream=1")).text == "data: [completed]\n\n"


async def test_turn_is_stopped_and_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with speaking(tmp_path, monkeypatch) as service, service.client() as client, asyncio.timeout(WAIT_S):
        turn_id = (await client.post("/words/ask", json={"text": "wait", "detached": True})).json()["turn_id"]
        assert (await client.post(f"/words/turns/{turn_id}/stop")).json() == {"status": "stopped"}
        assert (await client.delete(f"/words/turns/{turn_id}")).json() == {"left": 0}
        gone = await client.get(f"/words/turns/{turn_id}")
        assert (gone.status_code, gone.json()["refused"]) == (404, "turn_unknown")


# errors


@pytest.mark.parametrize(
    ("body", "code", "status_code"),
    [
        (b'{"text": ', "body_invalid", 400),
        (b"[1]", "body_invalid", 400),
        (b'{"text": "hi", "session": "s_unknown"}', "session_unknown", 404),
        (b'{"text": "hi", "chat": "nobody"}', "chat_unknown", 404),
        (b'{"text": "' + b"x" * 300_000 + b'"}', "body_too_large", 413),
    ],
)
async def test_refusals_have_the_formats_own_shape(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: bytes, code: str, status_code: int
) -> None:
    async with speaking(tmp_path, monkeypatch) as service, service.client() as client:
        answer = await client.post("/words/ask", content=body)
    assert (answer.status_code, answer.json()["refused"]) == (status_code, code)


async def test_format_that_is_off_has_no_endpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_module, "WIRE_FORMATS", {**WIRE_FORMATS, "words": lambda _: Words()})
    async with serving(tmp_path, protocols=()) as service, service.client() as client:
        assert (await client.get("/words/who")).status_code == 404
        assert (await client.get("/")).json()["protocols"] == {}


async def test_header_tells_formats_at_one_path_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with speaking(tmp_path, monkeypatch) as service, service.client() as client:
        assert (await client.get("/words/who", headers={"x-special": "1"})).json() == {"who": "special"}
        told = (await client.get("/words/who")).json()
    assert told == {"who": "plain", "chats": ["echo", "tuples_echo", "multi"], "base": "http://localhost"}


async def test_service_lists_the_endpoints_of_its_protocols(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with speaking(tmp_path, monkeypatch) as service, service.client() as client:
        protocols = (await client.get("/")).json()["protocols"]
    assert {"method": "GET", "path": "/words/who", "summary": "who"} in protocols["words"]


# sessions and files


async def test_session_steps_reach_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with speaking(tmp_path, monkeypatch) as service, service.client() as client:
        done = (await client.post("/words/sessions", json={"metadata": {"a": 1}})).json()
        assert done["texts"] == ["first", "second"]
        assert done["metadata"] == {"changed": True}
        assert (await client.get(f"/sessions/{done['id']}")).status_code == 404


async def test_same_bytes_are_stored_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with speaking(tmp_path, monkeypatch) as service, service.client() as client:
        answers = await asyncio.gather(*[client.post("/words/embed", content=b"abc") for _ in range(5)])
        (file_id,) = {answer.json()["id"] for answer in answers}
        assert await service.stored_files() == [file_id]
        assert (await client.get(f"/words/file={file_id}")).content == b"abc"


async def test_file_inside_a_request_has_the_limit_of_uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with speaking(tmp_path, monkeypatch, max_upload_bytes=3) as service, service.client() as client:
        assert (await client.post("/words/embed", content=b"abcd")).status_code == 413
        assert await service.stored_files() == []


async def test_uploads_of_one_field_are_all_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [("files", (f"{n}.txt", f"{n}".encode(), "text/plain")) for n in range(3)]
    async with speaking(tmp_path, monkeypatch) as service, service.client() as client:
        ids = (await client.post("/words/uploads", files=files)).json()
        assert sorted(ids) == await service.stored_files()
        empty = await client.post("/words/uploads", files=[("other", ("a", b"a"))])
        assert empty.json()["refused"] == "body_invalid"


# streams of sessions, and of nothing


async def ask_later(client: Any, text: str, **body: Any) -> Any:
    """Start a turn that nobody reads, and return what was answered and its session's id."""
    answer = await client.post("/words/ask", json={"text": text, "detached": True, **body})
    assert answer.status_code == 202
    return answer.json()["turn_id"], answer.headers["x-session-id"]


async def test_stream_of_a_session_ends_when_its_encoder_has_all_and_tells_who_waits_for_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with speaking(tmp_path, monkeypatch) as service, service.client() as client, asyncio.timeout(WAIT_S):
        _, session_id = await ask_later(client, "hi")
        await until_ended(service)
        told = await client.get(f"/words/sessions/{session_id}")
    assert told.text == 'data: [begin]\n\ndata: "0:hi"\n\ndata: [completed]\n\ndata: [end]\n\n'
    assert told.headers["cache-control"] == "no-store, no-transform"
    assert len(RECEIPTS[session_id].completed_at) == 1


@pytest.mark.parametrize(("policy", "status"), [("stop", "stopped"), ("continue", "running"), (None, "running")])
async def test_client_that_leaves_a_stream_stops_what_it_said_to_stop_of_what_that_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: str | None, status: str
) -> None:
    async with speaking(tmp_path, monkeypatch) as service, service.client() as client, asyncio.timeout(WAIT_S):
        turn_id, session_id = await ask_later(client, "wait", on_disconnect=policy)
        await leave(service, f"/words/sessions/{session_id}")
        if policy == "stop":
            await until_ended(service)
        assert (await client.get(f"/words/turns/{turn_id}")).json()["status"] == status
        assert RECEIPTS[session_id].completed_at == []


async def test_pulse_goes_on_until_its_client_leaves_or_the_server_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with speaking(tmp_path, monkeypatch) as service, service.client() as client, asyncio.timeout(WAIT_S):
        pulse = asyncio.ensure_future(client.get("/words/pulse"))
        await service.until_readers(1)
        service.engine.readers.say_bye()
        assert (await pulse).text == "data: ALIVE\n\n"
        assert len(service.engine.readers) == 0


# session keys


def test_key_stands_for_a_session_of_its_format_and_owner() -> None:
    settings = Settings()
    places = {
        place_of_key(key, name, settings, owner).session_id
        for key in ("abc", "abd")
        for name in ("a", "b")
        for owner in ("",)
    }
    assert len(places) == 4
    assert all(place.startswith("s_") for place in places)


def test_key_where_ids_may_be_chosen_is_the_id() -> None:
    settings = Settings(allow_client_session_ids=True)
    assert place_of_key("mine", "a", settings, "").session_id == "mine"
    assert place_of_key("mine", "a", Settings(), "ann").session_id == "mine"


def test_key_that_cannot_be_an_id_stands_for_one_even_where_ids_are_chosen() -> None:
    place = place_of_key("a b/ü", "a", Settings(), "ann")
    assert place.session_id.startswith("s_")
    assert place.creates == "missing"


def test_id_of_the_servers_is_never_made_on_use() -> None:
    known = "s_" + hashlib.sha256(b"x").hexdigest()[:22]
    place = place_of_key(known, "a", Settings(), "")
    assert (place.session_id, place.creates) == (known, "nothing")
