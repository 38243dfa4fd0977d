"""Bad input: each is answered with a problem document that says what is wrong, and nothing of it is stored."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import httpx2
import pytest
from pydantic import Field

from chatserve import ChatServer
from chatserve.contracts.store import SessionRecord
from tests.routes.service import Service, problem, say, say_later, serving

JSON = {"content-type": "application/json"}


async def stored(service: Service) -> tuple[list[SessionRecord], list[str]]:
    """Return all that the store and the files folder hold."""
    page = await service.engine.store.list_sessions("", after=None, limit=1000)
    records = [await service.engine.store.export_session("", session.session_id) for session in page.items]
    return records, await service.stored_files()


@asynccontextmanager
async def nothing_stored(service: Service) -> AsyncIterator[httpx2.AsyncClient]:
    """Give a client whose requests must leave everything as it is."""
    before = await stored(service)
    async with service.client() as client:
        yield client
    assert await stored(service) == before


@dataclass(frozen=True)
class Bad:
    """A request and its refusal; `{s}` in a path or body is a session that is there."""

    status: int
    code: str
    body: Any = None
    path: str = "/chat"
    method: str = "POST"
    headers: dict[str, str] | None = None
    says: str = ""


BODIES = {
    "no JSON": Bad(400, "body_invalid", b"{nope", says="JSON"),
    "an empty body": Bad(422, "inputs_invalid", b"", says="message"),
    "a body cut off": Bad(400, "body_invalid", b'{"message": "hi"'),
    "two JSON values": Bad(400, "body_invalid", b'{"message": "hi"} {}'),
    "a byte order mark": Bad(400, "body_invalid", b'\xef\xbb\xbf{"message": "hi"}'),
    "no UTF-8": Bad(400, "body_invalid", b'{"message": "\xff"}'),
    "a lone surrogate": Bad(400, "body_invalid", rb'{"message": "\ud800"}'),
    "a lone surrogate in a key": Bad(400, "body_invalid", rb'{"message": "hi", "inputs": {"\udfff": 1}}'),
    "NaN": Bad(400, "body_invalid", b'{"message": "hi", "inputs": {"loud": NaN}}'),
    "Infinity": Bad(400, "body_invalid", b'{"message": "hi", "inputs": {"loud": -Infinity}}'),
    "a number too large": Bad(400, "body_invalid", b'{"message": "hi", "inputs": {"loud": 1e999}}'),
    "65 levels": Bad(400, "body_invalid", b'{"message": "hi", "inputs": {"loud": ' + b"[" * 63 + b"]" * 63 + b"}}"),
    "20000 levels": Bad(400, "body_invalid", b"[" * 20_000 + b"]" * 20_000),
    "a list": Bad(422, "inputs_invalid", [1]),
    "null": Bad(422, "inputs_invalid", b"null"),
    "text": Bad(422, "inputs_invalid", '"hi"'),
    "no message": Bad(422, "inputs_invalid", {}, says="message: Field required"),
    "a number as message": Bad(422, "inputs_invalid", {"message": 1}, says="message"),
    "a message of unknown members": Bad(422, "inputs_invalid", {"message": {"text": "hi", "path": "/etc/passwd"}}),
    "an unknown member": Bad(422, "inputs_invalid", {"message": "hi", "mesage": "hi"}, says="mesage"),
    "a word as flag": Bad(422, "inputs_invalid", {"message": "hi", "stream": "yes"}, says="stream"),
    "an unknown when_busy": Bad(422, "inputs_invalid", {"message": "hi", "when_busy": "wait"}, says="when_busy"),
    "an input of the wrong type": Bad(422, "inputs_invalid", {"message": "hi", "inputs": {"loud": "x"}}, says="loud"),
    "an unknown input": Bad(422, "inputs_invalid", {"message": "hi", "inputs": {"lod": True}}, says="inputs.lod"),
    "inputs that are no object": Bad(422, "inputs_invalid", {"message": "hi", "inputs": [1]}, says="inputs"),
    "an example that is not there": Bad(422, "inputs_invalid", {"example": 9}, says="no example 9"),
    "a negative example": Bad(422, "inputs_invalid", {"example": -1}, says="example"),
    "a message and an example": Bad(422, "inputs_invalid", {"message": "hi", "example": 0}, says="not both"),
    "a history and a session": Bad(422, "inputs_invalid", {"message": "hi", "history": [], "session_id": "{s}"}),
    "a history that is none": Bad(422, "inputs_invalid", {"message": "hi", "history": {"role": "user"}}),
    "a history of numbers": Bad(422, "inputs_invalid", {"message": "hi", "history": [1]}, says="history entry 0"),
    "a pair of three": Bad(422, "inputs_invalid", {"message": "hi", "history": [["a", "b", "c"]]}),
    "an unknown role": Bad(422, "inputs_invalid", {"message": "hi", "history": [{"role": "root", "content": "x"}]}),
    "a file by path": Bad(
        422, "inputs_invalid", {"message": "hi", "history": [{"role": "user", "content": {"path": "/etc/passwd"}}]}
    ),
    "a broken part": Bad(
        422,
        "inputs_invalid",
        {"message": "hi", "history": [{"role": "user", "content": {"type": "source", "url": None}}]},
    ),
    "an unhashable part": Bad(
        422,
        "inputs_invalid",
        {
            "message": "hi",
            "history": [
                {
                    "role": "assistant",
                    "content": [{"type": "tool_call", "tool_call_id": "", "name": "", "arguments": "", "where": {}}],
                }
            ],
        },
    ),
    "metadata that is no object": Bad(
        422, "inputs_invalid", {"message": "hi", "history": [{"role": "user", "content": "x", "metadata": 0}]}
    ),
    "an unknown session": Bad(404, "session_unknown", {"message": "hi", "session_id": "s_AAAAAAAAAAAAAAAAAAAAAA"}),
    "a session of one's own choice": Bad(404, "session_unknown", {"message": "hi", "session_id": "mine"}),
    "a session id with a slash": Bad(422, "inputs_invalid", {"message": "hi", "session_id": "../x"}),
    "a session id that is too long": Bad(422, "inputs_invalid", {"message": "hi", "session_id": "x" * 65}),
    "files where none are taken": Bad(422, "inputs_invalid", {"message": {"text": "hi", "files": ["f_x"]}}),
    "a file that is not there": Bad(
        404, "file_unknown", {"message": {"text": "hi", "files": ["f_AAAAAAAAAAAAAAAAAAAAAA"]}}, path="/chat/multi"
    ),
    "a path as file id": Bad(
        404, "file_unknown", {"message": {"text": "hi", "files": ["../../etc/passwd"]}}, path="/chat/multi"
    ),
    "a path as file id in a history": Bad(
        404,
        "file_unknown",
        {
            "message": "hi",
            "history": [{"role": "user", "content": {"type": "file", "file_id": "../../../etc/passwd"}}],
        },
        path="/chat/multi",
    ),
    "an unknown chat": Bad(404, "chat_unknown", {"message": "hi"}, path="/chat/nobody", says="echo"),
}

HEADERS = {
    "no content type": Bad(415, "media_type_unsupported", b'{"message": "hi"}', headers={}),
    "text": Bad(415, "media_type_unsupported", b'{"message": "hi"}', headers={"content-type": "text/plain"}),
    "a form": Bad(
        415, "media_type_unsupported", b"message=hi", headers={"content-type": "application/x-www-form-urlencoded"}
    ),
    "a JSON dialect": Bad(
        415, "media_type_unsupported", b'{"message": "hi"}', headers={"content-type": "application/json5"}
    ),
    "a compressed body": Bad(
        415, "media_type_unsupported", b"\x1f\x8b\x08", headers=JSON | {"content-encoding": "gzip"}
    ),
    "a version without quotes": Bad(400, "body_invalid", {"message": "hi"}, headers=JSON | {"if-match": "3"}),
    "a version that is none": Bad(400, "body_invalid", {"message": "hi"}, headers=JSON | {"if-match": '"x"'}),
    "a stale version": Bad(
        412, "version_conflict", {"message": "hi", "session_id": "{s}"}, headers=JSON | {"if-match": '"1"'}
    ),
    "an empty key": Bad(400, "body_invalid", {"message": "hi"}, headers=JSON | {"idempotency-key": ""}),
    "a key with a space": Bad(400, "body_invalid", {"message": "hi"}, headers=JSON | {"idempotency-key": "a b"}),
    "a key that is too long": Bad(
        400, "body_invalid", {"message": "hi"}, headers=JSON | {"idempotency-key": "k" * 256}
    ),
    "a foreign host": Bad(421, "host_unknown", {"message": "hi"}, headers=JSON | {"host": "evil.example"}),
    "a foreign origin": Bad(403, "forbidden", {"message": "hi"}, headers=JSON | {"origin": "https://evil.example"}),
    "an opaque origin": Bad(403, "forbidden", {"message": "hi"}, headers=JSON | {"origin": "null"}),
    "too much of a header": Bad(431, "headers_too_large", {"message": "hi"}, headers=JSON | {"x": "y" * 33_000}),
}

ROUTES = {
    "an unknown path": Bad(404, "route_unknown", {}, path="/nothing"),
    "a slash too many": Bad(404, "route_unknown", {"message": "hi"}, path="/chat/"),
    "an unknown method": Bad(405, "method_not_allowed", {"message": "hi"}, method="PUT"),
    "a path that climbs": Bad(404, "route_unknown", {"message": "hi"}, path="/chat/%2e%2e%2fsessions"),
    "an endless URL": Bad(414, "url_too_long", {"message": "hi"}, path="/chat?" + "x" * 9000),
    "a bad cursor": Bad(400, "body_invalid", path="/sessions/{s}/events?after=-1", method="GET"),
    "a cursor that is no number": Bad(400, "body_invalid", path="/sessions/{s}/events?after=½", method="GET"),
    "no items on a page": Bad(400, "body_invalid", path="/sessions?limit=0", method="GET"),
    "too many items on a page": Bad(400, "body_invalid", path="/sessions/{s}/messages?limit=1001", method="GET"),
    "an unknown format": Bad(400, "body_invalid", path="/sessions/{s}/messages?format=xml", method="GET"),
    "an unknown turn": Bad(404, "turn_unknown", path="/turns/t_nope/stop"),
    "an unknown session": Bad(404, "session_unknown", path="/sessions/s_nope/stop"),
    "an unknown message": Bad(404, "message_unknown", {"value": "like"}, path="/messages/m_nope/feedback"),
    "metadata that is no object": Bad(422, "inputs_invalid", {"metadata": []}, path="/sessions"),
    "an unknown member of a session": Bad(422, "inputs_invalid", {"owner": "x"}, path="/sessions/{s}", method="PATCH"),
    "an import of nothing": Bad(422, "inputs_invalid", {}, path="/sessions/import"),
}


def filled(value: Any, session_id: str) -> Any:
    if isinstance(value, dict):
        return {key: filled(item, session_id) for key, item in value.items()}
    return value.replace("{s}", session_id) if isinstance(value, str) else value


async def send(client: httpx2.AsyncClient, bad: Bad, session_id: str) -> httpx2.Response:
    body = filled(bad.body, session_id)
    headers = (JSON if body is not None else {}) if bad.headers is None else bad.headers
    if body is None:
        return await client.request(bad.method, filled(bad.path, session_id), headers=headers)
    content = body if isinstance(body, bytes | str) else httpx2.Request("POST", "http://x", json=body).content
    return await client.request(bad.method, filled(bad.path, session_id), content=content, headers=headers)


@pytest.mark.parametrize(
    "bad", [*BODIES.values(), *HEADERS.values(), *ROUTES.values()], ids=[*BODIES, *HEADERS, *ROUTES]
)
async def test_bad_request_is_a_problem_and_changes_nothing(bad: Bad, store: str, tmp_path: Path) -> None:
    async with serving(tmp_path, store) as service:
        async with service.client() as client:
            session_id = (await say(client, "hello"))["session_id"]
        async with nothing_stored(service) as client:
            response = await send(client, bad, session_id)
        assert problem(response) == (bad.status, bad.code), response.text
        document = response.json()
        assert bad.says in document["detail"]
        assert document["error_id"].startswith("e_")
        assert document["type"] == "about:blank"


async def test_each_wrong_field_is_named(store: str, tmp_path: Path) -> None:
    async with serving(tmp_path, store) as service, nothing_stored(service) as client:
        response = await client.post("/chat", json={"message": 1, "stream": "x", "when_busy": 2})
        fields = {entry["field"].partition(".")[0] for entry in response.json()["errors"]}
        assert fields == {"message", "stream", "when_busy"}


async def test_busy_session_refuses_a_second_message_and_keeps_the_first(store: str, tmp_path: Path) -> None:
    async with serving(tmp_path, store) as service, service.client() as client:
        session_id = (await client.post("/sessions")).json()["session_id"]
        turn_id = await say_later(client, "wait", session_id)
        async with nothing_stored(service) as other:
            response = await other.post("/chat", json={"message": "me too", "session_id": session_id})
        assert problem(response) == (409, "session_busy")
        assert response.json()["turn_id"] == turn_id
        assert response.json()["retryable"] is True


async def test_key_of_a_refused_request_is_free_again(store: str, tmp_path: Path) -> None:
    async with serving(tmp_path, store) as service, service.client() as client:
        key = {"idempotency-key": "once"}
        refused = await client.post("/chat", json={"message": "hi", "inputs": {"loud": "x"}}, headers=key)
        assert refused.status_code == 422
        accepted = await client.post("/chat", json={"message": "hi"}, headers=key)
        assert accepted.status_code == 200
        assert "idempotency-replayed" not in accepted.headers


async def test_key_with_another_body_is_refused(store: str, tmp_path: Path) -> None:
    async with serving(tmp_path, store) as service:
        key = {"idempotency-key": "once"}
        async with service.client() as client:
            assert (await client.post("/chat", json={"message": "hi"}, headers=key)).status_code == 200
        async with nothing_stored(service) as client:
            response = await client.post("/chat", json={"message": "other"}, headers=key)
        assert problem(response) == (422, "idempotency_conflict")


# --- sizes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "body"),
    [
        ({"max_message_bytes": 10}, {"message": "é" * 6}),
        ({"max_message_bytes": 10}, {"message": {"text": "x" * 11}}),
        ({"max_body_bytes": 100}, {"message": "x" * 100}),
        ({"max_history_body_bytes": 100}, {"message": "hi", "history": [["x" * 100, None]]}),
    ],
)
async def test_what_is_too_large_is_413_and_tells_the_limit(
    settings: dict[str, int], body: Any, store: str, tmp_path: Path
) -> None:
    async with serving(tmp_path, store, **settings) as service, nothing_stored(service) as client:
        response = await client.post("/chat", json=body)
        assert problem(response) == (413, "body_too_large")
        assert response.json()["max_bytes"] in settings.values()


async def test_body_of_unknown_length_is_cut_at_the_limit(store: str, tmp_path: Path) -> None:
    read: list[int] = []

    async def endless() -> AsyncIterator[bytes]:
        while True:
            read.append(1)
            yield b" " * 100

    async with serving(tmp_path, store, max_history_body_bytes=1000) as service, nothing_stored(service) as client:
        response = await client.post("/chat", content=endless(), headers=JSON)
        assert problem(response) == (413, "body_too_large")
        assert len(read) <= 12


async def test_body_that_stops_coming_is_408(store: str, tmp_path: Path) -> None:
    async with serving(tmp_path, store, body_idle_s=0.01) as service:
        before = await stored(service)
        sent = await raw_request(service.app, [{"type": "http.request", "body": b'{"mess', "more_body": True}])
        assert sent[0]["status"] == 408
        assert b"body_timeout" in sent[1]["body"]
        assert await stored(service) == before
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0


async def test_request_that_is_cancelled_while_its_body_comes_is_not_answered(store: str, tmp_path: Path) -> None:
    async with serving(tmp_path, store) as service:
        begun = [{"type": "http.request", "body": b'{"mess', "more_body": True}]
        asking = asyncio.create_task(raw_request(service.app, begun))
        while begun:
            await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking


async def raw_request(app: ChatServer, received: list[Any]) -> list[Any]:
    """Send a POST /chat message by message, then nothing more; return what was answered."""
    sent: list[Any] = []
    never = asyncio.Event()

    async def receive() -> Any:
        if not received:
            await never.wait()
        return received.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/chat",
        "raw_path": b"/chat",
        "query_string": b"",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "scheme": "http",
    }
    await app(scope, receive, send)
    return sent


# --- inputs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "field"),
    [
        ({}, "inputs.tokens"),
        ({"tokens": 9}, "inputs.tokens"),
        ({"tokens": 101}, "inputs.tokens"),
        ({"tokens": "many"}, "inputs.tokens"),
        ({"tokens": None}, "inputs.tokens"),
        ({"tokens": 50, "tone": "rude"}, "inputs.tone"),
        ({"tokens": 50, "other": 1}, "inputs.other"),
    ],
)
async def test_missing_or_wrong_input_is_422_naming_the_field(
    inputs: dict[str, Any], field: str, store: str, tmp_path: Path
) -> None:
    app = ChatServer(store=store, files_dir=str(tmp_path / "files"))
    calls: list[str] = []

    @app.chat
    def limited(
        message: str,
        history: list[Any],
        tokens: Annotated[int, Field(ge=10, le=100)],
        tone: Literal["dry", "kind"] = "dry",
    ) -> str:
        calls.append(message)
        return "never"

    await app.start()
    try:
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
            response = await client.post("/chat", json={"message": "hi", "inputs": inputs})
            assert problem(response) == (422, "inputs_invalid")
            assert response.json()["errors"][0]["field"] == field
            assert (await client.get("/sessions")).json()["items"] == []
        assert calls == []
    finally:
        await app.stop()


# --- what is not an error ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("accept", ["application/xml", "image/png;q=0.1", "garbage", "*/*", ""])
async def test_accept_that_asks_for_something_else_is_answered_with_json(accept: str, tmp_path: Path) -> None:
    async with serving(tmp_path) as service, service.client() as client:
        response = await client.post("/chat", json={"message": "hi"}, headers={"accept": accept})
        assert response.status_code == 200
        assert response.headers["content-type"] == "application/json"


async def test_garbage_in_last_event_id_is_no_error(tmp_path: Path) -> None:
    async with serving(tmp_path) as service, service.client() as client:
        turn_id = (await say(client, "hi"))["turn_id"]
        response = await client.get(f"/turns/{turn_id}/events", headers={"last-event-id": "<script>"})
        assert response.status_code == 200
        assert "event: snapshot" in response.text
        assert "<script>" not in response.text


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", "Application/JSON"])
async def test_content_type_is_read_without_case_and_parameters(content_type: str, tmp_path: Path) -> None:
    async with serving(tmp_path) as service, service.client() as client:
        response = await client.post("/chat", content=b'{"message": "hi"}', headers={"content-type": content_type})
        assert response.status_code == 200


# --- hosts, origins, content types ------------------------------------------------------------------------------

HOSTS = {"localhost": True, "127.0.0.1:8000": True, "[::1]:8000": True, "evil.example": False}
ORIGINS = {None: True, "same": True, "https://app.example": True, "null": False, "https://evil.example": False}
CONTENT_TYPES = {"application/json": True, "text/plain": False, "multipart/form-data": False, "": False}


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("origin", ORIGINS)
@pytest.mark.parametrize("content_type", CONTENT_TYPES)
async def test_only_known_hosts_origins_and_json_start_a_turn(
    host: str, origin: str | None, content_type: str, tmp_path: Path
) -> None:
    headers = {"host": host, "content-type": content_type}
    if origin is not None:
        headers["origin"] = f"http://{host}" if origin == "same" else origin
    async with serving(tmp_path, cors_origins=("https://app.example",)) as service:
        before = await stored(service)
        async with service.client() as client:
            response = await client.post("/chat", content=b'{"message": "hi"}', headers=headers)
        expected = (
            421 if not HOSTS[host] else 403 if not ORIGINS[origin] else 200 if CONTENT_TYPES[content_type] else 415
        )
        assert response.status_code == expected
        assert (await stored(service) == before) is (expected != 200)


@pytest.mark.parametrize(
    ("message", "field"),
    [(5, "message"), (["hi"], "message"), ({"text": 5}, "message.text"), ({"files": "f_1"}, "message.files")],
)
async def test_a_message_of_another_shape_is_named_as_the_client_wrote_it(
    tmp_path: Path, message: Any, field: str
) -> None:
    async with serving(tmp_path) as service, service.client() as client:
        response = await client.post("/chat", json={"message": message})
    assert response.status_code == 422
    assert response.json()["detail"].startswith(f"{field}: ")
