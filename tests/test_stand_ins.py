"""What functions written for Gradio are given as `gr.Request`, `gr.Progress` and `gr.Header`."""

from typing import Any

import pytest
from starlette.requests import Request

from chatserve import ChatServer
from chatserve.chat_function.signature import GradioProgress, GradioRequest
from chatserve.testing import ChatClient
from tests.support.engine import decode, open_engine

History = list[Any]
Reports = list[tuple[Any, Any, Any]]


class gr:  # noqa: N801 - named as functions for Gradio name it
    """What these functions use of Gradio, which is not installed here."""

    class Request:
        __module__ = "gradio.route_utils"
        url: Any
        request: Any
        session_hash: Any

    class Progress:
        __module__ = "gradio.helpers"

    class Header(str):
        __module__ = "gradio.route_utils"


def described(request: Any) -> dict[str, Any]:
    return {
        "headers": dict(request.headers).get("x-tenant"),
        "query": dict(request.query_params),
        "cookies": dict(request.cookies),
        "path": dict(request.path_params),
        "host": request.client.host,
        "username": request.username,
        "session": request.session_hash,
    }


async def test_request_has_gradios_attributes() -> None:
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/chat",
        "query_string": b"a=1",
        "headers": [(b"x-tenant", b"acme"), (b"cookie", b"c=2")],
        "client": ("10.0.0.1", 5),
        "path_params": {"chat": "ask"},
    }

    def predict(message: str, history: History, request: gr.Request) -> Any:
        return {"data": described(request) | {"url": request.url.path, "same": request.request is not None}}

    async with open_engine(predict) as engine:
        record = await engine.ask(owner="ann", http_request=Request(scope))
        (part,) = record.messages[0].content
    assert part.data["data"] == {
        "headers": "acme",
        "query": {"a": "1"},
        "cookies": {"c": "2"},
        "path": {"chat": "ask"},
        "host": "10.0.0.1",
        "username": "ann",
        "session": "s_1",
        "url": "/chat",
        "same": True,
    }


def test_request_without_one_is_empty() -> None:
    nothing: dict[str, Any] = {
        "headers": None,
        "query": {},
        "cookies": {},
        "path": {},
        "host": "",
        "username": None,
        "session": None,
    }
    assert described(GradioRequest()) == nothing
    assert described(GradioRequest(headers={"x-tenant": "a"}, session_hash="h")) == nothing | {
        "headers": "a",
        "session": "h",
    }
    with pytest.raises(AttributeError, match="has no attribute 'url'"):
        GradioRequest().url  # noqa: B018 - it raises


@pytest.mark.parametrize(
    ("request_of", "session"), [({"protocol": "gradio", "session_key": "hash"}, "hash"), ({}, "s_1")]
)
async def test_session_hash_is_the_clients_own_or_else_the_sessions_id(
    request_of: dict[str, Any], session: str
) -> None:
    def predict(message: str, history: History, request: gr.Request) -> str:
        return str(request.session_hash)

    async with open_engine(predict) as engine:
        assert [(await engine.ask(**request_of)).messages[0].text for _ in range(2)] == [session, session]
        stateless = await engine.end_of(await engine.start(session_id="", history=()))
        assert stateless.messages[0].text == stateless.turn.turn_id


def test_header_is_the_one_named_like_the_parameter() -> None:
    app = ChatServer(store="memory://")

    @app.chat
    def predict(message: str, history: History, x_tenant: gr.Header, x_other: gr.Header | None = None) -> str:
        return f"{x_tenant} {x_other}"

    with ChatClient(app) as client:
        answer = client.post("/chat", json={"message": "hi"}, headers={"X-Tenant": "acme"})
        assert answer.json["text"] == "acme None"


async def test_progress_reports_through_the_context() -> None:
    def predict(message: str, history: History, progress: Any = gr.Progress()) -> str:  # noqa: B008 - as in Gradio
        progress(0, desc="starting")
        progress((1, 4), desc="quarter")
        progress(None)
        for _ in progress.tqdm(["a"], desc="loading"):
            pass
        return "done"

    async with open_engine(predict) as engine:
        turn = await engine.start()
        events = decode(await engine.frames(turn))
    assert [event.json for event in events if event.event == "status"] == [
        {"text": "starting", "done": 0, "total": 1},
        {"text": "quarter", "done": 1, "total": 4},
        {"text": "loading", "done": 0, "total": 1},
        {"text": "loading", "done": 1, "total": 1},
    ]


def test_progress_of_a_loop_reports_its_first_and_last_step_and_few_between() -> None:
    reports: Reports = []
    progress = GradioProgress(report=lambda *report: reports.append(report))
    loop = progress.tqdm(range(100_000), desc="x")
    assert (list(loop), len(loop)) == (list(range(100_000)), 100_000)
    assert (reports[0], reports[-1]) == ((0, 100_000, "x"), (100_000, 100_000, "x"))
    assert len(reports) < 1000


def test_progress_can_be_counted_by_hand() -> None:
    reports: Reports = []
    progress = GradioProgress(report=lambda *report: reports.append(report))
    progress.tqdm(None, total=3, desc="pages")
    progress.update(3)
    progress.close()
    progress.update(1)
    progress(0.5, total=10)
    assert reports == [(3, 3, "pages"), (0.5, 10, None)]


def test_progress_without_a_turn_does_nothing() -> None:
    progress = GradioProgress(track_tqdm=True)
    progress(0.5)
    progress.update()
    assert list(progress.tqdm(iter("ab"))) == ["a", "b"]
