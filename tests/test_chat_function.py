"""Chat functions: their signature, their inputs, what is injected, and what is refused when they are registered."""

import asyncio
import functools
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field
from starlette.requests import HTTPConnection, Request

from chatserve import ChatContext, ChatError
from chatserve.chat_function import Report
from chatserve.chat_function.call import join_deltas, skip_snapshots
from chatserve.core.errors import ConfigurationError, InputsInvalid
from chatserve.core.types import TextPart, ToolResultPart, Usage
from tests.support.engine import NATIVE, chat_of, decode, open_engine
from tests.support.reducer import ClientAnswer

if TYPE_CHECKING:
    from decimal import Decimal

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


# --- signatures --------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize(
    "function", [lambda: None, lambda message: None, lambda *, message, history: None, lambda **anything: None]
)
def test_function_that_cannot_take_message_and_history_is_refused(function: Any) -> None:
    with pytest.raises(ConfigurationError, match="the first two must be the message and the history"):
        chat_of(function)


def test_input_that_cannot_be_passed_by_name_is_refused() -> None:
    def predict(message, history, temperature, /):
        return temperature

    with pytest.raises(ConfigurationError, match="temperature"):
        chat_of(predict)


@pytest.mark.parametrize("function", [lambda *everything: None, lambda message, *rest: None])
def test_function_that_takes_any_positional_arguments_takes_message_and_history(function: Any) -> None:
    assert chat_of(function).input_names == ()


def test_annotation_that_cannot_be_checked_is_refused() -> None:
    class Opaque:
        pass

    def predict(message: str, history: History, opaque: Opaque) -> None: ...

    with pytest.raises(ConfigurationError, match="pydantic cannot check"):
        chat_of(predict)


def test_names_that_mean_something_to_pydantic_are_inputs_like_others() -> None:
    def predict(message, history, _hidden=1, copy=2, json=3, schema=4, model_name=5, validate=6, model_config=7):
        return (_hidden, copy, json, schema, model_name, validate, model_config)

    chat = chat_of(predict)
    assert chat.input_names == ("hidden", "copy", "json", "schema", "model_name", "validate", "model_config")
    assert set(chat.inputs_schema["properties"]) == set(chat.input_names)
    assert chat.check_inputs({"hidden": 10, "json": 30, "model_config": 70}) == {
        "_hidden": 10,
        "copy": 2,
        "json": 30,
        "schema": 4,
        "model_name": 5,
        "validate": 6,
        "model_config": 70,
    }


def test_annotations_only_type_checkers_can_read_take_any_json_and_do_not_hide_the_others() -> None:
    def predict(message: str, history: History, ctx: "ChatContext", price: "Decimal", count: "int" = 1) -> None: ...

    chat = chat_of(predict)
    assert chat.signature.context == "ctx"
    assert chat.check_inputs({"price": "any"}) == {"price": "any", "count": 1}
    with pytest.raises(InputsInvalid):
        chat.check_inputs({"price": 1, "count": "x"})


def test_bound_arguments_of_a_partial_are_no_inputs_or_become_their_defaults() -> None:
    def predict(model: str, message: str, history: History, tokens: int, ctx: ChatContext) -> None: ...

    chat = chat_of(functools.partial(predict, "m", tokens=7))
    assert chat.input_names == ("tokens",)
    assert chat.check_inputs({}) == {"tokens": 7}
    assert chat.signature.context == "ctx"


@pytest.mark.parametrize(
    "annotation",
    [
        ChatContext,
        ChatContext | None,
        Annotated[ChatContext, 1],
        "chatserve.ChatContext",
        "elsewhere.ChatContext | None",
    ],
)
def test_context_is_recognized_however_it_is_annotated(annotation: Any) -> None:
    def predict(message, history, ctx=None):
        return None

    predict.__annotations__["ctx"] = annotation
    chat = chat_of(predict)
    assert (chat.signature.context, chat.input_names) == ("ctx", ())


@pytest.mark.parametrize("annotation", [Request, Request | None, HTTPConnection, "elsewhere.Request"])
def test_request_is_recognized_however_it_is_annotated(annotation: Any) -> None:
    def predict(message, history, request=None):
        return None

    predict.__annotations__["request"] = annotation
    chat = chat_of(predict)
    assert (chat.signature.request, chat.input_names) == ("request", ())


# --- inputs ------------------------------------------------------------------------------------------------------


def test_inputs_that_are_left_out_have_their_defaults_fresh_each_time() -> None:
    chat = chat_of(all_kinds)
    first = chat.check_inputs({})
    first["tags"].append("changed")
    assert chat.check_inputs({}) == {
        "system": "be kind",
        "tokens": 50,
        "mode": "fast",
        "loud": False,
        "point": None,
        "tags": [],
        "anything": None,
    }


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


# --- examples and validators -------------------------------------------------------------------------------------


def test_examples_are_read_in_every_form() -> None:
    examples = [
        "a",
        ["b", "kind"],
        ("c", None, 20),
        {"text": "d"},
        {"message": {"text": "e"}, "inputs": {"tokens": 30}},
    ]
    read = [(example.text, dict(example.inputs)) for example in chat_of(all_kinds, examples=tuple(examples)).examples]
    inputs: list[dict[str, Any]] = [{}, {"system": "kind"}, {"tokens": 20}, {}, {"tokens": 30}]
    assert read == list(zip("abcde", inputs, strict=True))


@pytest.mark.parametrize("example", [5, [], ["a", *range(20)]])
def test_example_that_is_none_is_refused(example: Any) -> None:
    with pytest.raises(ConfigurationError, match="neither a message"):
        chat_of(all_kinds, examples=(example,))


@dataclass
class Verdict:
    """A validator that gives or raises what it is told."""

    verdict: Any

    def __call__(self, message: str, **inputs: Any) -> Any:
        if isinstance(self.verdict, Exception):
            raise self.verdict
        return self.verdict


@pytest.mark.parametrize(
    ("verdict", "refusal"),
    [
        (None, None),
        (True, None),
        (False, "the message was refused"),
        ("too rude", "too rude"),
        (ValueError("too long"), "too long"),
        (ChatError("not today"), "not today"),
    ],
)
async def test_validator_decides_before_anything_is_stored(verdict: Any, refusal: str | None) -> None:
    async with open_engine(all_kinds, validator=Verdict(verdict)) as engine:
        if refusal is None:
            assert (await engine.ask()).turn.status == "completed"
            return
        with pytest.raises(InputsInvalid, match=refusal):
            await engine.start()
        assert (await engine.store.list_sessions("", after=None, limit=10)).items == ()
