"""Places in which an object's `repr`, a path of the server or a bound keyword could reach a client, and none does.

Each answer is asked for natively, as a stream, over OpenAI's, Anthropic's and Gradio's protocols; and what the session,
its export and the service's own documents say is searched too.
"""

import datetime
import functools
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chatserve import ChatContext, ChatError, ChatMessage, ChatServer, File
from chatserve.testing import ChatClient

PRIVATE = "sk-private"


class Secret:
    def __repr__(self) -> str:
        return f"Secret({PRIVATE})"

    __str__ = __repr__


class Failure(Exception):
    pass


class GradioError(Exception):
    message = Secret()


GradioError.__name__, GradioError.__module__ = "Error", "gradio.exceptions"
SECRET = Secret()
PATH = f"/srv/{PRIVATE}/a.txt"
FILE_DATA = {"path": PATH, "meta": {"_type": "gradio.FileData"}}


def raising(error: BaseException) -> Callable[..., Any]:
    def predict(message, history):
        raise error

    return predict


def reporting(report: Callable[[ChatContext], None]) -> Callable[..., Any]:
    def predict(message, history, ctx: ChatContext):
        report(ctx)
        return "done"

    return predict


def completion(**delta: Any) -> Any:
    choice = SimpleNamespace(index=0, delta=SimpleNamespace(**delta), finish_reason=None)
    return SimpleNamespace(object="chat.completion.chunk", id="c", choices=[choice], usage=None)


def tool_call(arguments: Any) -> dict[str, Any]:
    return {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}


ANSWERS: dict[str, Any] = {
    "object": SECRET,
    "class": Secret,
    "exception": Failure(PRIVATE),
    "tuple": ("text", SECRET),
    "tuple of text": ("text", PRIVATE),
    "list of data": [1, SECRET],
    "list of messages": ["text", SECRET],
    "item of a dict": {"a": {"b": [SECRET]}},
    "key of a dict": {"a": {SECRET: 1}},
    "set": {"a": {SECRET}},
    "bytes": {"a": PRIVATE.encode()},
    "path in data": {"a": Path(PATH)},
    "File in data": {"a": File(PATH)},
    "FileData in data": {"a": [FILE_DATA]},
    "path dict": {"path": PATH},
    "path tuple": (PATH,),
    "Path": Path(PATH),
    "name of a file": File(b"x", name=PATH),
    "content": ChatMessage(SECRET),
    "content list": ChatMessage(["a", SECRET]),
    "text part": ChatMessage([{"type": "text", "text": SECRET}]),
    "data part": ChatMessage([{"type": "data", "data": SECRET}]),
    "metadata": ChatMessage("a", metadata={"title": SECRET}),
    "metadata itself": ChatMessage("a", metadata=SECRET),  # type: ignore[arg-type]
    "options": ChatMessage("a", options=[{"value": SECRET}]),
    "role": ChatMessage("a", role=SECRET),  # type: ignore[arg-type]
    "arguments of a tool": {"content": "", "tool_calls": [tool_call({"a": SECRET})]},
    "id of a tool": {"content": "", "tool_calls": [tool_call("{}") | {"id": SECRET}]},
    "result of a tool": {"role": "tool", "tool_call_id": "c", "content": [SECRET]},
    "source": ChatMessage([{"type": "source", "url": SECRET}]),
    "text of a chunk": completion(content=SECRET),
    "name of a chunk's tool": completion(
        tool_calls=[SimpleNamespace(index=0, id="c", function=SimpleNamespace(name=SECRET, arguments={"a": SECRET}))]
    ),
    "event of Anthropic": {
        "type": "content_block_start",
        "index": 0,
        "content_block": {"type": "web_search_tool_result", "tool_use_id": "c", "content": [SECRET]},
    },
    "timedelta and object": [datetime.timedelta(1), SECRET],
    "whole history": [{"role": "user", "content": "x"}, {"role": "assistant", "content": SECRET}],
}
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "exception raised": raising(Failure(PRIVATE)),
    "exception of an exception": raising(Failure(SECRET)),
    "ChatError of an object": raising(ChatError(SECRET)),  # type: ignore[arg-type]
    "ChatError of an exception": raising(ChatError(Failure(PRIVATE))),  # type: ignore[arg-type]
    "code of a ChatError": raising(ChatError("told", code=SECRET)),  # type: ignore[arg-type]
    "gr.Error of an object": raising(GradioError(PRIVATE)),
    "status": reporting(lambda ctx: ctx.status(SECRET)),  # type: ignore[arg-type]
    "status of an exception": reporting(lambda ctx: ctx.status(Failure(PRIVATE))),  # type: ignore[arg-type]
    "progress": reporting(lambda ctx: ctx.progress(1, 2, SECRET)),  # type: ignore[arg-type]
    "done of a progress": reporting(lambda ctx: ctx.progress(SECRET)),  # type: ignore[arg-type]
    "state": reporting(lambda ctx: ctx.session.state.update(a=SECRET)),
    "title": reporting(lambda ctx: setattr(ctx.session, "title", SECRET)),
    "bound keyword": functools.partial(lambda message, history, key: "done", key=PRIVATE),
    "default that is an object": lambda message, history, client=SECRET: "done",
}


def answering(value: Any) -> Callable[..., Any]:
    return lambda message, history: value


PLACES = {name: answering(value) for name, value in ANSWERS.items()} | FUNCTIONS
ASKED: dict[str, dict[str, Any]] = {
    "/chat": {"message": "x"},
    "/chat?stream": {"message": "x", "stream": True},
    "/v1/chat/completions": {"model": "place", "messages": [{"role": "user", "content": "x"}]},
    "/v1/responses": {"model": "place", "input": "x"},
    "/v1/messages": {"model": "place", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]},
}


@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize("yields", ["snapshots", "deltas"])
def test_nothing_private_reaches_a_client(name: str, yields: Any):
    app = ChatServer(protocols=("openai_chat", "openai_responses", "anthropic", "gradio"))
    app.chat(name="place", yields=yields, multimodal=True)(PLACES[name])
    with ChatClient(app) as client:
        told = [client.post(path.partition("?")[0], body).text for path, body in ASKED.items()]
        session = client.session()
        turn = session.send("x")
        told += [json.dumps([event.value for event in turn.events]), json.dumps(session.messages)]
        about = ["/", "/openapi.json", "/gradio_api/info", "/v1/models", f"/sessions/{turn.session_id}"]
        told += [client.get(path).text for path in (*about, f"/sessions/{turn.session_id}/export")]
        call = client.post("/gradio_api/call/place", {"data": [{"text": "x", "files": []}]}).json
        told.append(client.get(f"/gradio_api/call/place/{call['event_id']}").text)
    for text in told:
        assert PRIVATE not in text
        assert "Secret" not in text
        assert "object at 0x" not in text


def test_there_are_more_than_twenty_places():
    assert len(PLACES) > 40
