"""The OpenAPI document: whole, well formed, and true of what the codec writes and the routes answer."""

import json
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, get_args

import httpx2
import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel

from chatserve import ChatContext, ChatError, ChatMessage, ChatServer
from chatserve.codec import encode_payload, file_json, message_json, part_json, session_json, turn_json
from chatserve.core.events import EVENT_NAMES
from chatserve.core.types import Part
from chatserve.routes.openapi.document import HEADERS
from chatserve.routes.openapi.operations import operation_of
from chatserve.routes.openapi.schemas import event_schema_name
from chatserve.routes.service import native_routes
from tests.routes.service import history, say, serving
from tests.support.sse import read_events
from tests.support.values import (
    EVENTS,
    FILE,
    MESSAGE,
    PARTS,
    RICH_MESSAGE,
    RICH_SESSION,
    RICH_TURN,
    SESSION,
    TURN,
)

CONTRACT = {
    "/": {"get"},
    "/openapi.json": {"get"},
    "/chat": {"post"},
    "/chat/echo": {"post"},
    "/chat/tuples_echo": {"post"},
    "/chat/multi": {"post"},
    "/turns/{turn_id}": {"get"},
    "/turns/{turn_id}/events": {"get"},
    "/turns/{turn_id}/stop": {"post"},
    "/sessions": {"get", "post"},
    "/sessions/{session_id}": {"get", "patch", "delete"},
    "/sessions/{session_id}/events": {"get"},
    "/sessions/{session_id}/stop": {"post"},
    "/sessions/{session_id}/messages": {"get", "delete"},
    "/sessions/{session_id}/undo": {"post"},
    "/sessions/{session_id}/retry": {"post"},
    "/sessions/{session_id}/edit": {"post"},
    "/sessions/{session_id}/fork": {"post"},
    "/sessions/{session_id}/export": {"get"},
    "/sessions/import": {"post"},
    "/messages/{message_id}/feedback": {"post"},
    "/files": {"post"},
    "/files/{file_id}": {"get"},
    "/health/live": {"get"},
    "/health/ready": {"get"},
}
"""Contract section 2."""


@pytest.fixture(scope="module")
async def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    async with serving(tmp_path_factory.mktemp("document")) as service, service.client() as client:
        response = await client.get("/openapi.json")
        assert response.status_code == 200
        document: dict[str, Any] = response.json()
        return document


def validator(document: dict[str, Any], name: str) -> Draft202012Validator:
    """Return a validator of one of the document's schemas."""
    return Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": document["components"]})


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every object in a JSON value."""
    if isinstance(value, dict):
        yield value
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from objects(child)


# --- whole -------------------------------------------------------------------------------------------------------


async def test_document_has_every_path_and_method_of_the_contract(document: dict[str, Any]) -> None:
    assert {path: set(operations) for path, operations in document["paths"].items()} == CONTRACT


async def test_every_route_describes_itself(tmp_path: Path) -> None:
    async with serving(tmp_path) as service:
        runtime = service.app._runtime
        assert runtime is not None
        routes = native_routes(runtime.service)
        assert [route.path for route in routes if operation_of(route.endpoint) is None] == []


async def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    for reference in {each["$ref"] for each in objects(document) if isinstance(each.get("$ref"), str)}:
        target: Any = document
        for step in reference.removeprefix("#/").split("/"):
            target = target[step]


async def test_every_schema_is_a_schema(document: dict[str, Any]) -> None:
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


async def test_operation_ids_are_unique_and_links_name_them(document: dict[str, Any]) -> None:
    operations = [each for path in document["paths"].values() for each in path.values()]
    ids = [each["operationId"] for each in operations]
    assert len(set(ids)) == len(ids)
    linked = {
        link["operationId"]
        for operation in operations
        for response in operation["responses"].values()
        for link in response.get("links", {}).values()
    }
    assert linked <= set(ids)


async def test_every_operation_tells_the_problems_it_may_answer_with(document: dict[str, Any]) -> None:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            expected = {"400", "414", "431", "500"} | ({"421"} if not path.startswith("/health/") else set())
            expected |= {"403"} if method in {"post", "patch", "delete"} else set()
            expected |= {"408", "413", "415", "422"} if "requestBody" in operation else set()
            assert expected <= set(operation["responses"]), path


async def test_document_is_made_once(tmp_path: Path) -> None:
    async with serving(tmp_path) as service, service.client() as client:
        assert (await client.get("/openapi.json")).content == (await client.get("/openapi.json")).content


async def test_document_of_a_mounted_application_says_where_it_is(tmp_path: Path) -> None:
    async with serving(tmp_path) as service:
        transport = httpx2.ASGITransport(app=service.app, root_path="/api")
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
            document = (await client.get("/api/openapi.json")).json()
            assert document["servers"] == [{"url": "/api"}]


# --- inputs ------------------------------------------------------------------------------------------------------


class Tone(Enum):
    dry = "dry"
    kind = "kind"


class Style(BaseModel):
    tone: Tone
    words: int = 10


async def test_inputs_of_each_chat_are_described_and_their_references_hold(tmp_path: Path) -> None:
    app = ChatServer(store="memory://", files_dir=str(tmp_path))

    @app.chat(name="odd name é", examples=["hi"])
    def styled(message: str, history: list[Any], style: Style) -> str:
        return "x"

    await app.start()
    try:
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
            document = (await client.get("/openapi.json")).json()
    finally:
        await app.stop()
    assert "/chat/odd%20name%20%C3%A9" in document["paths"]
    check = validator(document, "Turn.odd_name__")
    assert check.is_valid({"message": "hi", "inputs": {"style": {"tone": "dry"}}})
    assert check.is_valid({"example": 0, "inputs": {"style": {"tone": "dry"}}})
    assert not check.is_valid({"message": "hi", "inputs": {"style": {"tone": "rude"}}})
    assert not check.is_valid({"message": "hi"})
    assert not check.is_valid({"message": "hi", "example": 0, "inputs": {"style": {"tone": "dry"}}})
    assert not check.is_valid({"example": 1, "inputs": {"style": {"tone": "dry"}}})


@pytest.mark.parametrize(
    ("body", "is_valid"),
    [
        ({"message": "hi"}, True),
        ({"message": {"text": "hi", "tool_results": [{"tool_call_id": "c", "output": 1}]}}, True),
        ({"message": "hi", "history": [["a", "b"], ["c", None]]}, True),
        ({"message": "hi", "history": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]}, True),
        ({"message": "hi", "session_id": "s_abc", "stream": True, "when_busy": "queue"}, True),
        ({}, False),
        ({"message": None}, False),
        ({"message": "hi", "example": 0}, False),
        ({"message": "hi", "session_id": "s_abc", "history": []}, False),
        ({"message": {"text": "hi", "files": ["f_x"]}}, False),
        ({"message": "hi", "inputs": {"loud": "perhaps"}}, False),
        ({"message": "hi", "unknown": 1}, False),
    ],
)
async def test_body_of_a_turn_is_valid_exactly_where_it_is_taken(
    body: dict[str, Any], is_valid: bool, document: dict[str, Any], tmp_path: Path
) -> None:
    assert validator(document, "Turn.echo").is_valid(body) is is_valid
    async with serving(tmp_path) as service, service.client() as client:
        status_code = (await client.post("/chat/echo", json=body)).status_code
        assert (status_code in {200, 404}) is is_valid


# --- true of the codec -------------------------------------------------------------------------------------------

VALUES = [
    *(
        (
            event_schema_name(EVENT_NAMES[type(least)]),
            json.loads(encode_payload(least)),
            json.loads(encode_payload(most)),
        )
        for least, most in EVENTS
    ),
    *((type(least).__name__, part_json(least), part_json(most)) for least, most in PARTS),
    ("Message", message_json(MESSAGE), message_json(RICH_MESSAGE)),
    ("Turn", turn_json(TURN), turn_json(RICH_TURN)),
    ("Session", session_json(SESSION), session_json(RICH_SESSION)),
    ("File", file_json(FILE), file_json(FILE)),
]


@pytest.mark.parametrize(("name", "least", "most"), VALUES, ids=[str(name) for name, _, _ in VALUES])
async def test_schema_has_exactly_the_members_the_codec_writes(
    name: str, least: dict[str, Any], most: dict[str, Any], document: dict[str, Any]
) -> None:
    check, schema = validator(document, name), document["components"]["schemas"][name]
    assert list(check.iter_errors(least)) == []
    assert list(check.iter_errors(most)) == []
    assert set(least) == set(schema["required"])
    assert set(most) == set(schema["properties"])
    assert not check.is_valid(most | {"surprise": 1})


async def test_every_event_and_every_part_is_among_the_samples() -> None:
    assert {type(least) for least, _ in EVENTS} == set(EVENT_NAMES)
    assert {type(least) for least, _ in PARTS} == set(get_args(Part))


# --- true of what is answered ------------------------------------------------------------------------------------


def check_stream(document: dict[str, Any], text: str) -> set[str]:
    """Hold a stream against the schemas of its events; return their names."""
    events = list(read_events(text.splitlines()))
    for event in events:
        frame = {"event": event.event, "data": event.data, "id": event.id}
        validator(document, "StreamEvent").validate(frame)
        validator(document, event_schema_name(event.event)).validate(json.loads(event.data))
    return {event.event for event in events}


async def test_streams_and_answers_of_a_talkative_chat_are_as_described(tmp_path: Path) -> None:
    app = ChatServer(store="memory://", files_dir=str(tmp_path / "files"))

    @app.chat
    async def talk(message: str, history: list[Any], context: ChatContext) -> Any:
        context.status("thinking")
        context.progress(1, 2, "half")
        context.usage(3, 4)
        yield [ChatMessage("look", metadata={"title": "Search", "status": "pending"})]
        yield [ChatMessage("look", metadata={"title": "Search", "status": "done"}), ChatMessage("a")]
        yield [
            ChatMessage("look", metadata={"title": "Search", "status": "done"}),
            ChatMessage("b", options=[{"value": "x"}]),
        ]
        yield [ChatMessage("look", metadata={"title": "Search"}), ChatMessage(["b", {"type": "source", "url": "u"}])]
        if message == "fail":
            raise ChatError("no", code="no_way")

    await app.start()
    try:
        transport = httpx2.ASGITransport(app=app, client=("127.0.0.1", 1))
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
            document = (await client.get("/openapi.json")).json()
            streamed = await client.post("/chat", json={"message": "hi", "stream": True})
            failed = await client.post("/chat", json={"message": "fail", "stream": True})
            names = check_stream(document, streamed.text) | check_stream(document, failed.text)
            assert names >= {"turn", "message", "delta", "replace", "status", "metadata", "part", "error", "done"}
            turn = (await client.get(f"/turns/{failed.headers['x-turn-id']}")).json()
            validator(document, "TurnState").validate(turn)
            waiting = await client.post("/chat", json={"message": "hi"})
            validator(document, "Answer").validate(waiting.json())
            problem = await client.post("/chat", json={"message": "fail"})
            assert problem.status_code == 422
            validator(document, "Problem").validate(problem.json())
            later = await client.post("/chat", json={"message": "hi"}, headers={"prefer": "respond-async"})
            validator(document, "Accepted").validate(later.json())
            snapshot = await client.get(f"/turns/{failed.headers['x-turn-id']}/events", headers={"last-event-id": "?"})
            assert "snapshot" in check_stream(document, snapshot.text)
    finally:
        await app.stop()


async def test_answers_of_session_routes_are_as_described(document: dict[str, Any], tmp_path: Path) -> None:
    async with serving(tmp_path) as service, service.client() as client:
        session_id = (await say(client, "hello"))["session_id"]
        validator(document, "Session").validate((await client.get(f"/sessions/{session_id}")).json())
        for shape, name in (("messages", "Message"), ("tuples", "Pair"), ("openai", "OpenAIMessage")):
            for item in await history(client, session_id, format=shape):
                validator(document, name).validate(item)
        exported = (await client.get(f"/sessions/{session_id}/export")).json()
        validator(document, "SessionDocument").validate(exported)
        uploaded = await client.post("/files?name=a.txt", content=b"abc")
        validator(document, "File").validate(uploaded.json())


async def test_headers_that_are_described_are_those_that_are_sent(tmp_path: Path) -> None:
    async with serving(tmp_path) as service, service.client() as client:
        response = await client.post("/chat", json={"message": "hi"}, headers={"idempotency-key": "k"})
        again = await client.post("/chat", json={"message": "hi"}, headers={"idempotency-key": "k"})
        later = await client.post("/chat", json={"message": "hi"}, headers={"prefer": "respond-async"})
        sent = {*response.headers, *again.headers, *later.headers}
        assert {name.lower() for name in HEADERS} - sent == {"retry-after"}
