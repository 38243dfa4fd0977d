"""Chat functions: their signature, their inputs, what is injected, and what is refused when they are registered."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field
from starlette.requests import Request

from chatserve import ChatContext, ChatError
from chatserve.chat_function import Report
from chatserve.chat_function.call import join_deltas, skip_snapshots
from chatserve.core.errors import InputsInvalid
from chatserve.core.types import TextPart, ToolResultPart, Usage
from tests.support.engine import NATIVE, chat_of, decode, open_engine
from tests.support.reducer import ClientAnswer

if TYPE_CHECKING:
    pass

History = list[Any]


class Point(BaseModel):
    x: int
    y: int = 0


def all_kinds(
    message: str,
    history: History,
    system: str = "be kind",
    tokens: Annotated[int, Field(ge=10, le=100)] = 50,
    *,
    mode: Literal["fast", "good"] = "fast",
    loud: bool = False,
    point: Point | None = None,
    tags: list[str] = [],  # noqa: B006 - what a developer may write
    anything=None,
) -> dict[str, Any]:
    tags.append("changed")
    return {"system": system, "tokens": tokens, "mode": mode, "loud": loud, "point": point, "anything": anything}


# --- inputs ------------------------------------------------------------------------------------------------------


def test_inputs_are_the_parameters_after_message_and_history() -> None:
    assert chat_of(all_kinds).input_names == ("system", "tokens", "mode", "loud", "point", "tags", "anything")


def test_inputs_are_described_as_json_schema() -> None:
    schema = chat_of(all_kinds).inputs_schema
    properties = schema["properties"]
    assert (schema["type"], schema["additionalProperties"]) == ("object", False)
    assert properties["tokens"] == {"default": 50, "maximum": 100, "minimum": 10, "title": "Tokens", "type": "integer"}
    assert properties["mode"]["enum"] == ["fast", "good"]
    assert "required" not in schema
    assert chat_of(lambda message, history, must: must).inputs_schema["required"] == ["must"]


def test_inputs_are_read_as_they_are_annotated() -> None:
    checked = chat_of(all_kinds).check_inputs({"tokens": "12", "point": {"x": 1}, "tags": ["a"], "anything": [1, {}]})
    assert checked["tokens"] == 12
    assert checked["point"] == Point(x=1)
    assert (checked["tags"], checked["anything"]) == (["a"], [1, {}])


@pytest.mark.parametrize(
    ("inputs", "field"),
    [
        ({"tokens": 9}, "inputs.tokens"),
        ({"tokens": "many"}, "inputs.tokens"),
        ({"tokens": None}, "inputs.tokens"),
        ({"mode": "slow"}, "inputs.mode"),
        ({"point": {"y": 1}}, "inputs.point.x"),
        ({"tags": [1]}, "inputs.tags.0"),
        ({"unknown": 1}, "inputs.unknown"),
        ({"message": "x"}, "inputs.message"),
    ],
)
def test_wrong_and_unknown_inputs_are_refused_and_named(inputs: dict[str, Any], field: str) -> None:
    with pytest.raises(InputsInvalid) as raised:
        chat_of(all_kinds).check_inputs(inputs)
    assert [error["field"] for error in raised.value.extra["errors"]] == [field]
    assert str(raised.value).startswith(f"{field}: ")


@pytest.mark.parametrize(("count", "named"), [(20, 20), (21, 20), (10_000, 20), (10_001, 1)])
def test_at_most_20_wrong_inputs_are_named(count: int, named: int) -> None:
    with pytest.raises(InputsInvalid, match=r"^inputs[.:]") as raised:
        chat_of(all_kinds).check_inputs({f"unknown_{number}": 1 for number in range(count)})
    assert len(raised.value.extra["errors"]) == named


def test_missing_input_is_refused_and_named() -> None:
    with pytest.raises(InputsInvalid, match=r"inputs\.must: Field required"):
        chat_of(lambda message, history, must: must).check_inputs({})


async def test_wrong_input_leaves_nothing_behind() -> None:
    async with open_engine(all_kinds) as engine:
        with pytest.raises(InputsInvalid):
            await engine.start(inputs={"tokens": 1})
        assert (await engine.store.list_sessions("", after=None, limit=10)).items == ()


async def test_function_gets_its_inputs_by_name() -> None:
    async with open_engine(all_kinds) as engine:
        record = await engine.ask(inputs={"tokens": 20, "loud": True, "point": {"x": 3}})
        (part,) = record.messages[0].content
        assert (part.data["tokens"], part.data["loud"], part.data["point"]) == (20, True, {"x": 3, "y": 0})
        assert all_kinds("hi", [])["tokens"] == 50


# --- what is injected --------------------------------------------------------------------------------------------


async def test_context_tells_of_the_turn() -> None:
    told: list[Any] = []

    def predict(message: str, history: History, ctx: ChatContext) -> str:
        told.append((ctx.session.id, ctx.session.title, ctx.turn_id, ctx.user, ctx.protocol, ctx.params, ctx.tools))
        told.append((ctx.headers, ctx.cancelled))
        ctx.params["seed"] = "changed"  # type: ignore[index]
        return "x"

    async with open_engine(predict) as engine:
        params = {"seed": 1}
        headers = {"x-a": "b", "authorization": "secret", "cookie": "secret", "x-api-key": "secret"}
        turn = await engine.start(
            owner="ann", params=params, tools=({"name": "t"},), headers=headers, protocol="openai"
        )
        await engine.end_of(turn)
        session = ("s_1", None, turn.turn_id, "ann", "openai", {"seed": "changed"}, ({"name": "t"},))
        assert told == [session, ({"x-a": "b"}, False)]
        assert params == {"seed": 1}


async def test_request_is_the_one_the_client_sent() -> None:
    request = Request({"type": "http", "headers": [], "method": "POST", "path": "/chat", "query_string": b""})

    def predict(message: str, history: History, request: Request) -> str:
        return request.url.path

    async with open_engine(predict) as engine:
        assert (await engine.ask(http_request=request)).messages[0].text == "/chat"


@pytest.mark.parametrize("is_async", [True, False])
async def test_reports_stand_where_they_were_made(is_async: bool) -> None:
    def predict(message: str, history: History, ctx: ChatContext) -> Iterator[str]:
        ctx.status("looking")
        yield "a"
        ctx.progress(1, 2, "half")
        ctx.progress(2)
        ctx.usage(3, 4)
        yield "ab"
        ctx.status("half \ud800")

    async def predict_async(message: str, history: History, ctx: ChatContext) -> AsyncIterator[str]:
        for text in predict(message, history, ctx):
            yield text

    async with open_engine(predict_async if is_async else predict) as engine:
        turn = await engine.start()
        events = [(event.event, event.json) for event in await engine.events(turn)]
        client = ClientAnswer().apply_all(events)
        assert [name for name, _ in events[1:-1]] == [
            "status",
            "message",
            "delta",
            "status",
            "status",
            "delta",
            "status",
        ]
        assert [data for name, data in events if name == "status"] == [
            {"text": "looking"},
            {"text": "half", "done": 1, "total": 2},
            {"done": 2},
            {"text": "half \ufffd"},
        ]
        assert client.done is not None
        assert client.done["usage"] == {"input_tokens": 3, "output_tokens": 4}
        assert (await engine.end_of(turn)).turn.usage == Usage(3, 4)


@pytest.mark.parametrize("reporter", ["task", "thread"])
@pytest.mark.parametrize("is_wrapped", [True, False])
async def test_reports_of_an_async_functions_tasks_and_threads_are_shown_while_it_waits(
    reporter: str, is_wrapped: bool
) -> None:
    shown = asyncio.Event()

    async def work(ctx: ChatContext) -> None:
        if reporter == "thread":
            await asyncio.to_thread(ctx.status, "working")
        else:
            ctx.status("working")
        await shown.wait()

    async def predict(message: str, history: History, ctx: ChatContext) -> AsyncIterator[str]:
        yield "begun"
        await asyncio.create_task(work(ctx))
        yield "begun and done"

    def wrapper(message: str, history: History, ctx: ChatContext) -> Any:
        return predict(message, history, ctx)

    async with open_engine(wrapper if is_wrapped else predict) as engine:
        turn = await engine.start()
        reader = engine.turns.read_turn(turn, NATIVE)
        stream = b""
        while b"working" not in stream:
            stream += await engine.next_frames(reader)
        shown.set()
        names = [event.event for event in decode(stream + await engine.read(reader))]
        assert names == ["turn", "message", "delta", "status", "delta", "done"]


async def test_results_of_tools_reach_the_function_in_context_and_history() -> None:
    told: list[Any] = []

    def predict(message: str, history: History, ctx: ChatContext) -> Any:
        told.append((message, ctx.tool_results, history[-1:] if ctx.tool_results else []))
        if ctx.tool_results:
            return "found"
        return {"content": [{"type": "tool_call", "tool_call_id": "c", "name": "f", "arguments": "{}"}]}

    async with open_engine(predict) as engine:
        assert (await engine.ask("look")).turn.finish_reason == "tool_calls"
        result = ToolResultPart("c", {"n": 1})
        record = await engine.ask(tool_results=(result,))
        assert record.turn.finish_reason == "stop"
        assert record.messages[0].content == (TextPart("found"),)
    entry = {"role": "tool", "content": '{"n":1}', "tool_call_id": "c"}
    assert told == [("look", (), []), ("", (result,), [entry])]


# --- errors a function shows -------------------------------------------------------------------------------------


async def test_chat_error_is_shown_as_the_developer_wrote_it() -> None:
    def predict(message: str, history: History) -> Iterator[str]:
        yield "so far"
        raise ChatError("no more today", code="quota", status_code=429, retryable=True)

    async with open_engine(predict) as engine:
        turn = await engine.start()
        error = (await engine.events(turn))[-2]
        assert error.event == "error"
        assert error.json["error_id"].startswith("e_")
        del error.json["error_id"]
        record = await engine.end_of(turn)
        assert record.turn.error is not None
        assert (record.turn.error.code, record.turn.error.detail) == ("quota", "no more today")
        assert (record.turn.error.status_code, record.turn.error.retryable) == (429, True)


@pytest.mark.parametrize(("debug", "detail"), [(False, "the chat function failed"), (True, "ValueError: secret")])
async def test_other_errors_are_told_to_the_log_and_only_in_debug_to_the_client(
    debug: bool, detail: str, caplog: pytest.LogCaptureFixture
) -> None:
    def predict(message: str, history: History) -> str:
        raise ValueError("secret")

    async with open_engine(predict, settings={"debug": debug}) as engine:
        record = await engine.ask()
        error = record.turn.error
        assert error is not None
        assert (error.code, error.detail) == ("chat_function_failed", detail)
        assert error.error_id in caplog.text
        assert "ValueError: secret" in caplog.text


async def test_unknown_role_fails_the_turn_with_a_code_of_its_own() -> None:
    async with open_engine(lambda message, history: {"role": "bot", "content": "x"}) as engine:
        error = (await engine.ask()).turn.error
        assert error is not None
        assert error.code == "answer_invalid"


# --- what is said at once ------------------------------------------------------------------------------------------


def test_deltas_said_at_once_are_joined_up_to_whatever_else_is_said() -> None:
    report = Report(text="searching")
    assert list(join_deltas(["a", "", "b", report, "c", "d"])) == ["ab", report, "cd"]


def test_snapshots_said_at_once_are_left_out_where_the_next_one_extends_them() -> None:
    report = Report(text="searching")
    assert list(skip_snapshots(["", "a", "ab", report, "abc", "abcd", "x", "xy"])) == ["ab", report, "abcd", "xy"]
