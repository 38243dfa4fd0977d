"""Gradio's endpoints as a client sees them: what they answer, what they refuse and how, all without a socket."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import httpx2
import pytest
from pydantic import BaseModel, Field

from chatserve import ChatContext, ChatError, ChatServer
from chatserve.formats.wire.gradio.components import component_of, python_type

WAIT_S = 10
PREFIX = "/gradio_api"


class Place(BaseModel):
    city: str
    zip: int = 0


def refuse_swearing(message: str, **inputs: Any) -> str | None:
    return "mind your words" if message == "damn" else None


class Chats:
    """A served application: `echo` says what it was given; `hold` waits until it is let go."""

    def __init__(self, tmp_path: Path, on_disconnect: Any = "continue", **settings: Any) -> None:
        self.released = asyncio.Event()
        self.calls = 0
        settings = {"store": "memory://", **settings}
        self.app = app = ChatServer(files_dir=str(tmp_path / "files"), **settings)

        @app.chat(validator=refuse_swearing)
        async def echo(
            message: str,
            history: list[Any],
            ctx: ChatContext,
            tone: Literal["calm", "loud"] = "calm",
            times: Annotated[int, Field(ge=1, le=3)] = 1,
            note: str | None = "none given",
        ) -> str:
            if message == "refuse":
                raise ChatError("no words left", code="no_words", status_code=409)
            return json.dumps([len(history), message, tone, times, note, ctx.params, ctx.protocol])

        @app.chat
        async def needy(message: str, history: list[Any], place: Place, maybe: int | None, ratio: float = 0.5) -> str:
            """Need a place."""
            return f"{place.city} {maybe} {ratio}"

        @app.chat(multimodal=True)
        def files(message: dict[str, Any], history: list[Any]) -> str:
            return " ".join([message["text"], *(Path(path).read_text() for path in message["files"])])

        @app.chat(concurrency_limit=1, max_queue=1, on_disconnect=on_disconnect)
        async def hold(message: str, history: list[Any]) -> str:
            self.calls += 1
            await self.released.wait()
            return "released"


@asynccontextmanager
async def serving(tmp_path: Path, **settings: Any) -> AsyncIterator[tuple[Chats, httpx2.AsyncClient]]:
    chats = Chats(tmp_path, **settings)
    await chats.app.start()
    transport = httpx2.ASGITransport(app=chats.app, client=("127.0.0.1", 50000))
    try:
        async with (
            asyncio.timeout(WAIT_S),
            httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client,
        ):
            yield chats, client
    finally:
        chats.released.set()
        await chats.app.stop()


def client_of(chats: Chats, owner: str) -> httpx2.AsyncClient:
    """Return a client whose requests are the owner's."""

    async def owned(scope: Any, receive: Any, send: Any) -> None:
        await chats.app({**scope, "chatserve.owner": owner}, receive, send)

    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=owned), base_url="http://localhost")


async def until_ended(chats: Chats) -> None:
    """Wait until no turn is open; the caller bounds the wait."""
    assert chats.app.engine is not None
    for turn in chats.app.engine.open_turns:
        await turn.ended.wait()


async def run(client: httpx2.AsyncClient, data: Any, api: str = "echo", **body: Any) -> Any:
    """Take a turn and return its value."""
    response = await client.post(f"{PREFIX}/run/{api}", json={"data": data, **body})
    assert response.status_code == 200, response.text
    (value,) = response.json()["data"]
    return json.loads(value) if api == "echo" else value


async def collect(client: httpx2.AsyncClient, session_hash: str) -> list[dict[str, Any]]:
    """Read a session's stream to its end."""
    response = await client.get(f"{PREFIX}/queue/data", params={"session_hash": session_hash})
    assert response.headers["content-type"].startswith("text/event-stream")
    messages = [json.loads(block.removeprefix("data: ")) for block in response.text.split("\n\n")[:-1]]
    assert messages[-1]["msg"] == "close_stream"
    return messages[:-1]


async def join(client: httpx2.AsyncClient, data: Any, session_hash: str = "mine", **body: Any) -> str:
    response = await client.post(f"{PREFIX}/queue/join", json={"data": data, "session_hash": session_hash, **body})
    assert response.status_code == 200, response.text
    event_id: str = response.json()["event_id"]
    return event_id


# --- what clients read first -----------------------------------------------------------------------------------------


async def test_configuration_is_small_and_holds_what_clients_need(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, client):
        old, new = await client.get("/config"), await client.get(f"{PREFIX}/config")
        app_id = (await client.get(f"{PREFIX}/app_id")).json()
    assert len(old.content) < 2048
    assert old.content == new.content
    config = old.json()
    assert (config["protocol"], config["api_prefix"], "root" in config) == ("sse_v3", PREFIX, False)
    assert config["app_id"] == app_id["app_id"]
    names = [(each["id"], each["api_name"], each["api_visibility"]) for each in config["dependencies"]]
    assert names == [
        (0, "echo", "public"),
        (1, "chat", "undocumented"),
        (2, "needy", "public"),
        (3, "files", "public"),
        (4, "hold", "public"),
    ]
    assert all(each["queue"] is True and each["outputs"] == [0] for each in config["dependencies"])
    types = {each["id"]: each["type"] for each in config["components"]}
    inputs = [[types[number] for number in each["inputs"]] for each in config["dependencies"]]
    assert inputs[0] == inputs[1] == ["textbox", "dropdown", "slider", "textbox"]
    assert inputs[2:] == [["textbox", "json", "number", "number"], ["multimodaltextbox"], ["textbox"]]


@pytest.mark.parametrize(
    ("schema", "component", "type_"),
    [
        ({}, "Json", "Any"),
        ({"type": "boolean"}, "Checkbox", "bool"),
        ({"type": "integer", "minimum": 1}, "Number", "int"),
        ({"const": "a"}, "Dropdown", "Literal['a']"),
        ({"$ref": "#/$defs/Kind"}, "Dropdown", "Literal['x', 'y']"),
        ({"anyOf": [{"type": "number"}, {"type": "null"}]}, "Number", "float | None"),
        ({"anyOf": [{"type": "string"}, {"type": "integer"}]}, "Json", "str | int"),
        ({"type": "array", "items": {"type": "string"}}, "Json", "list[str]"),
        ({"type": "object", "additionalProperties": {"type": "number"}}, "Json", "dict[str, float]"),
        ({"type": "object", "additionalProperties": True}, "Json", "dict[str, Any]"),
        ({"$ref": "#/$defs/Node"}, "Json", "dict(next: Any | None)"),
    ],
)
def test_schema_has_a_component_and_a_python_type(schema: dict[str, Any], component: str, type_: str) -> None:
    node = {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]}}}
    definitions = {"Kind": {"enum": ["x", "y"], "type": "string"}, "Node": node}
    assert (component_of(schema, definitions), python_type(schema, definitions)) == (component, type_)


async def test_parameters_are_described_with_types_and_defaults(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, client):
        apis = (await client.get(f"{PREFIX}/info")).json()["named_endpoints"]
    assert list(apis) == ["/echo", "/chat", "/needy", "/files", "/hold"]
    told = {
        api: [
            (
                each["parameter_name"],
                each["python_type"]["type"],
                each["parameter_has_default"],
                each["parameter_default"],
            )
            for each in apis[api]["parameters"]
        ]
        for api in ("/echo", "/needy", "/files")
    }
    assert told["/echo"] == [
        ("message", "str", False, None),
        ("tone", "Literal['calm', 'loud']", True, "calm"),
        ("times", "int", True, 1),
        ("note", "str | None", True, "none given"),
    ]
    assert told["/needy"] == [
        ("message", "str", False, None),
        ("place", "dict(city: str, zip: int)", False, None),
        ("maybe", "int | None", False, None),
        ("ratio", "float", True, 0.5),
    ]
    assert told["/files"] == [("message", "dict(text: str, files: list[filepath])", False, None)]
    assert apis["/echo"]["parameters"][2]["python_type"]["description"] == "from 1, to 3"
    assert apis["/needy"]["description"] == "Need a place."
    assert "Place" in apis["/needy"]["parameters"][1]["type"]["$defs"]


# --- arguments -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "given"),
    [
        (["hi"], ["hi", "calm", 1, "none given"]),
        (["hi", "loud", 2, "x"], ["hi", "loud", 2, "x"]),
        (["hi", None, None, None], ["hi", "calm", 1, "none given"]),
        (["hi", None, "loud", 3, "x"], ["hi", "loud", 3, "x"]),
        ([{"text": "hi", "files": []}, "loud"], ["hi", "loud", 1, "none given"]),
        ({"message": "hi", "times": 3}, ["hi", "calm", 3, "none given"]),
    ],
)
async def test_arguments_fill_the_inputs_and_null_is_their_default(tmp_path: Path, data: Any, given: list[Any]) -> None:
    async with serving(tmp_path) as (_, client):
        assert await run(client, data) == [0, *given, {}, "gradio"]


async def test_null_is_a_value_where_there_is_no_default(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, client):
        assert await run(client, ["hi", {"city": "Bonn"}, None, None], "needy") == "Bonn None 0.5"


async def test_unknown_fields_reach_the_function_as_params(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, client):
        assert (await run(client, ["hi"], temperature=0.2, trigger_id=None))[5] == {"temperature": 0.2}


@pytest.mark.parametrize(
    ("body", "name", "words"),
    [
        ({"data": ["hi", "calm", 9]}, "times", "Input should be less than or equal to 3"),
        ({"data": []}, "message", "the message is missing"),
        ({"data": [5]}, "message", "5 is neither text nor {'text', 'files'}"),
        ({"data": "hi"}, "data", "'hi' is no list of arguments"),
        ({"data": ["a", "b", "c", "d", "e"]}, "data", "/echo takes 4 argument(s), not 5"),
        ({"data": ["hi"], "session_hash": 5}, "session_hash", "5 is no text"),
        ({"data": ["damn"]}, "message", "mind your words"),
        ({"data": [{"text": "a", "files": ["f_1"]}]}, "message", "/echo takes no files; send text"),
        ({"data": [{"text": 1}]}, "message", "text must be text, and files a list"),
    ],
)
@pytest.mark.parametrize("path", ["/run/echo", "/call/echo"])
async def test_wrong_arguments_are_refused_in_the_shape_of_a_validation(
    tmp_path: Path, body: Any, name: str, words: str, path: str
) -> None:
    async with serving(tmp_path) as (_, client):
        refused = await client.post(PREFIX + path, json={"session_hash": "mine", **body})
        assert (await client.get("/sessions")).json()["items"] == []
    assert refused.status_code == 422
    (entry,) = refused.json()["detail"]
    assert entry == {"__type__": "validate", "is_valid": False, "message": words, "parameter_name": name}


async def test_missing_argument_is_named(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, client):
        refused = (await client.post(f"{PREFIX}/call/needy", json={"data": ["hi"]})).json()["detail"]
    assert [(each["parameter_name"], each["message"]) for each in refused] == [
        ("place", "Field required"),
        ("maybe", "Field required"),
    ]


# --- the queue -------------------------------------------------------------------------------------------------------


async def test_joined_turns_are_told_in_one_stream_and_once(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, client):
        ids = [await join(client, ["a"]), await join(client, ["b"], fn_index=1)]
        told = await collect(client, "mine")
        again = await collect(client, "mine")
    completed = [(each["event_id"], each["output"]["data"][0]) for each in told if each["msg"] == "process_completed"]
    assert [event_id for event_id, _ in completed] == ids
    assert [json.loads(value)[:2] for _, value in completed] == [[0, "a"], [2, "b"]]
    assert [each["msg"] for each in again] == ["unexpected_error"]


async def test_turn_that_joins_right_after_a_stream_has_ended_waits_for_the_next_one(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, client):
        for _ in range(3):
            event_id = await join(client, ["a"])
            told = await collect(client, "mine")
            assert {each["event_id"] for each in told} == {event_id}


async def test_turn_that_joins_an_open_stream_is_told_there(tmp_path: Path) -> None:
    async with serving(tmp_path) as (chats, client):
        first = await join(client, ["a"], fn_index=4)
        stream = asyncio.ensure_future(collect(client, "mine"))
        while not chats.app.engine or not len(chats.app.engine.readers):
            await asyncio.sleep(0)
        second = await join(client, ["b"])
        chats.released.set()
        told = await stream
    assert [each["event_id"] for each in told if each["msg"] == "process_completed"] == [first, second]


async def test_stream_that_was_cut_is_told_again(tmp_path: Path) -> None:
    async with serving(tmp_path) as (chats, client):
        event_id = await join(client, ["a"], fn_index=4)
        cut = asyncio.ensure_future(collect(client, "mine"))
        while not chats.app.engine or not len(chats.app.engine.readers):
            await asyncio.sleep(0)
        cut.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cut
        chats.released.set()
        told = await collect(client, "mine")
    assert [each["msg"] for each in told][-1] == "process_completed"
    assert {each["event_id"] for each in told} == {event_id}
    assert chats.calls == 1


async def test_inbox_is_its_owners(tmp_path: Path) -> None:
    async with serving(tmp_path) as (chats, _), client_of(chats, "ann") as ann, client_of(chats, "bob") as bob:
        event_id = await join(ann, ["a"], "ours")
        assert [each["msg"] for each in await collect(bob, "ours")] == ["unexpected_error"]
        assert {each["event_id"] for each in await collect(ann, "ours")} == {event_id}


@pytest.mark.parametrize(("policy", "status"), [("stop", "stopped"), ("continue", "running")])
async def test_client_that_leaves_its_queue_stops_what_is_stopped_then(
    tmp_path: Path, policy: str, status: str
) -> None:
    async with serving(tmp_path, on_disconnect=policy) as (chats, client):
        event_id = await join(client, ["a"], fn_index=4)
        engine = chats.app.engine
        assert engine is not None

        async def receive() -> dict[str, str]:
            while not len(engine.readers):
                await asyncio.sleep(0)
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            pass

        head = {"method": "GET", "path": "/queue/data", "headers": [(b"host", b"localhost")], "root_path": ""}
        scope = {"type": "http", "client": ("127.0.0.1", 1), "query_string": b"session_hash=mine", **head}
        await chats.app(scope, receive, send)
        if policy == "stop":
            await until_ended(chats)
        assert (await engine.get_turn("", event_id)).turn.status == status


@pytest.mark.parametrize("retention_s", [0, 900])
async def test_turn_that_ended_before_a_restart_is_delivered_after_it(tmp_path: Path, retention_s: float) -> None:
    store = f"sqlite:///{tmp_path}/chat.db"
    async with serving(tmp_path, store=store) as (chats, client):
        event_id = await join(client, ["a"])
        await until_ended(chats)
    async with serving(tmp_path, store=store, log_retention_s=retention_s) as (chats, client):
        assert chats.app.engine is not None
        await chats.app.engine.sessions.purge()
        told = await collect(client, "mine")
    named = ["process_generating", "process_completed"]
    assert [each["msg"] for each in told if each["msg"] in named] == named
    assert ("process_starts" in {each["msg"] for each in told}) is bool(retention_s)
    assert {each["event_id"] for each in told} == {event_id}


async def test_turn_that_was_forgotten_is_waited_for_no_more(tmp_path: Path) -> None:
    async with serving(tmp_path) as (chats, client):
        event_id = await join(client, ["a"])
        await until_ended(chats)
        assert chats.app.engine is not None
        await chats.app.engine.forget_turn("", event_id)
        assert [each["msg"] for each in await collect(client, "mine")] == ["unexpected_error"]


@pytest.mark.parametrize("named", [True, False])
async def test_cancel_stops_a_turn_or_all_of_the_session_and_never_fails(tmp_path: Path, named: bool) -> None:
    async with serving(tmp_path) as (_, client):
        event_id = await join(client, ["a"], fn_index=4)
        asked = {"event_id": event_id if named else None, "session_hash": "mine", "fn_index": 4}
        for _ in range(2):
            assert (await client.post(f"{PREFIX}/cancel", json=asked)).json() == {"success": True}
        told = await collect(client, "mine")
        for unknown in ({"event_id": "t_0"}, {"event_id": None, "session_hash": "none"}, {}):
            assert (await client.post(f"{PREFIX}/reset", json=unknown)).json() == {"success": True}
    assert (told[-1]["output"]["data"], told[-1]["success"]) == ([None], True)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"session_hash": "s_unknown"}, "no session 's_unknown'"),
        ({"fn_index": 9}, "fn_index: 9 is none of 0 to 4"),
        ({"data": [{"text": "", "files": [{"path": "f_0"}]}], "fn_index": 3}, "no file 'f_0'"),
        ({"data": ["hi", "quiet"]}, "tone: "),
        ({"data": ["hi", "calm", 9]}, "times: Input should be less than or equal to 3"),
        ({"data": [None]}, "the message is missing"),
        ({"data": ["damn"]}, "mind your words"),
        ({"data": [[]]}, "[] is neither text nor"),
        ({"data": "hi"}, "'hi' is no list of arguments"),
        ({"data": ["hi"] * 7}, "takes 4 argument(s), not 7"),
    ],
)
async def test_what_is_wrong_in_a_joined_call_is_told_in_the_stream(tmp_path: Path, body: Any, words: str) -> None:
    asked = {"data": ["hi"], "session_hash": "mine"} | body
    async with serving(tmp_path) as (_, client):
        joined = await client.post(f"{PREFIX}/queue/join", json=asked)
        told = await collect(client, asked["session_hash"])
        (again,) = await collect(client, asked["session_hash"])
        assert (await client.get("/sessions")).json()["items"] == []
    assert joined.status_code == 200
    assert [(each["msg"], each["success"], each["event_id"]) for each in told] == [
        ("process_completed", False, joined.json()["event_id"])
    ]
    assert words in told[0]["output"]["error"]
    assert again["msg"] == "unexpected_error"


async def test_join_without_a_session_is_refused_at_once(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, client):
        for session_hash in (None, 7, ""):
            refused = await client.post(f"{PREFIX}/queue/join", json={"data": ["hi"], "session_hash": session_hash})
            assert refused.status_code == 422
            assert "the answer is read under it" in refused.json()["detail"][0]["message"]


async def test_refusal_is_told_in_the_open_stream_of_another_turn(tmp_path: Path) -> None:
    async with serving(tmp_path) as (chats, client):
        running = await join(client, ["a"], fn_index=4)
        stream = asyncio.ensure_future(collect(client, "mine"))
        assert chats.app.engine is not None
        while not len(chats.app.engine.readers):
            await asyncio.sleep(0.01)
        refused = await join(client, ["hi", "calm", 9])
        last = await join(client, ["b"])
        chats.released.set()
        told = [each["event_id"] for each in await asyncio.wait_for(stream, 10) if each["msg"] == "process_completed"]
    assert sorted(told) == sorted([running, refused, last])


async def test_full_queue_and_the_end_of_the_server_are_told_as_busy(tmp_path: Path) -> None:
    async with serving(tmp_path) as (chats, client):
        for number in range(2):
            await join(client, ["a"], f"s{number}", fn_index=4)
        full = await client.post(f"{PREFIX}/queue/join", json={"data": ["a"], "session_hash": "s2", "fn_index": 4})
        assert chats.app.engine is not None
        chats.app.engine.refuse_turns()
        late = await client.post(f"{PREFIX}/queue/join", json={"data": ["a"], "session_hash": "s3"})
    assert (full.status_code, full.json()["code"], full.headers["retry-after"]) == (503, "queue_full", "1")
    assert (late.status_code, late.json()["code"]) == (503, "shutting_down")


async def test_heartbeat_is_held_open(tmp_path: Path) -> None:
    async with serving(tmp_path) as (chats, client):
        assert chats.app.engine is not None
        beating = asyncio.ensure_future(client.get("/heartbeat/mine"))
        while not len(chats.app.engine.readers):
            await asyncio.sleep(0)
        chats.app.engine.readers.say_bye()
        assert (await beating).text == "data: ALIVE\n\n"


async def test_status_of_the_queue_claims_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, client):
        assert (await client.get(f"{PREFIX}/queue/status")).json()["queue_size"] is None
        assert (await client.get(f"{PREFIX}/queue/data")).status_code == 422


# --- simple calls ----------------------------------------------------------------------------------------------------


async def test_call_can_be_read_later_and_as_often_as_one_likes(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, client):
        event_id = (await client.post("/call/chat", json={"data": ["hi", None, None, None, None]})).json()["event_id"]
        reads = [await client.get(f"{PREFIX}/call/{api}/{event_id}") for api in ("chat", "echo", "chat")]
        other = await client.get(f"{PREFIX}/call/needy/{event_id}")
    assert {read.text for read in reads} == {reads[0].text}
    generating, complete, end = reads[0].text.split("\n\n")
    assert generating.startswith("event: generating\ndata: [")
    assert complete == generating.replace("generating", "complete")
    assert end == ""
    assert (other.status_code, other.json()["code"]) == (404, "turn_unknown")


async def test_call_by_name_takes_names_and_keeps_the_session(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, client):
        for count, tone in enumerate(("calm", "loud")):
            body = {"message": "hi", "tone": tone, "session_hash": "mine", "top_p": 1}
            event_id = (await client.post(f"{PREFIX}/call/v2/echo", json=body)).json()["event_id"]
            told = (await client.get(f"{PREFIX}/call/v2/echo/{event_id}")).text
            (value,) = json.loads(told.rpartition("data: ")[2])
            assert json.loads(value) == [2 * count, "hi", tone, 1, "none given", {"top_p": 1}, "gradio"]
        missing = await client.post(f"{PREFIX}/call/v2/needy", json={"message": "hi", "maybe": 1})
    assert missing.json()["detail"][0]["parameter_name"] == "place"


async def test_calls_keep_a_session_where_they_name_one(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, client):
        counts = [(await run(client, ["hi"], session_hash=key))[0] for key in ("a", "a", "b")]
        counts += [(await run(client, ["hi"]))[0] for _ in range(2)]
    assert counts == [0, 2, 0, 0, 0]


async def test_failed_turn_is_an_error_with_its_own_status(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, client):
        failed = await client.post(f"{PREFIX}/run/echo", json={"data": ["refuse"]})
        event_id = (await client.post(f"{PREFIX}/call/echo", json={"data": ["refuse"]})).json()["event_id"]
        told = (await client.get(f"{PREFIX}/call/echo/{event_id}")).text
    assert (failed.status_code, failed.json()["error"], failed.json()["code"]) == (409, "no words left", "no_words")
    assert failed.headers["x-should-retry"] == "false"
    assert told.startswith('event: error\ndata: {"error":"no words left","visible":true')


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_unknown_api_and_event_are_not_found(tmp_path: Path, method: str) -> None:
    path = "/call/nobody/t_0" if method == "GET" else "/call/nobody"
    async with serving(tmp_path) as (_, client):
        unknown = await client.request(method, PREFIX + path, json={"data": ["hi"]})
        event = await client.get(f"{PREFIX}/call/chat/t_0")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "chat_unknown")
    assert "/echo, /chat, /needy" in unknown.json()["detail"]
    assert (event.status_code, event.json()["code"]) == (404, "turn_unknown")


# --- files -----------------------------------------------------------------------------------------------------------


async def test_files_are_named_by_their_ids(tmp_path: Path) -> None:
    uploads = [("files", (f"{name}.txt", name.encode(), "text/plain")) for name in ("one", "two")]
    async with serving(tmp_path) as (_, client):
        one, two = (await client.post(f"{PREFIX}/upload", files=uploads)).json()
        given = [{"path": one, "meta": {"_type": "gradio.FileData"}}, f"http://localhost{PREFIX}/file={two}"]
        assert await run(client, [{"text": "say", "files": given}], "files") == "say one two"
        assert (await client.get(f"{PREFIX}/file={one}")).text == (await client.get(f"/file={one}")).text == "one"
        for unknown in ("f_0", "", "/etc/passwd", "../../etc/passwd"):
            assert (await client.get(f"{PREFIX}/file={unknown}")).status_code in (400, 404)


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ({"path": "http://127.0.0.1/x"}, "is an address, which is not fetched; upload its bytes"),
        ("data:text/plain,x", "is an address, which is not fetched; upload its bytes"),
        ({"url": "x"}, "has no path; upload it first"),
        ("/etc/passwd", "no file '/etc/passwd'"),
    ],
)
async def test_no_address_is_fetched_and_no_path_is_opened(tmp_path: Path, file: Any, words: str) -> None:
    async with serving(tmp_path) as (_, client):
        refused = await client.post(f"{PREFIX}/run/files", json={"data": [{"text": "read", "files": [file]}]})
    assert refused.status_code == 422
    assert words in refused.json()["detail"][0]["message"]


async def test_upload_that_is_too_large_is_413(tmp_path: Path) -> None:
    async with serving(tmp_path, max_upload_bytes=3) as (_, client):
        assert (await client.get("/config")).json()["max_file_size"] == 3
        refused = await client.post(f"{PREFIX}/upload", files=[("files", ("a.txt", b"abcd"))])
    assert (refused.status_code, refused.json()["code"]) == (413, "body_too_large")
