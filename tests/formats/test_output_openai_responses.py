"""OpenAI Responses as the real SDK delivers them."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pytest

from chatserve.contracts.formats import PartAppended
from chatserve.core.errors import AnswerInvalid
from chatserve.core.types import LocalFile, SourcePart, ToolCallPart, ToolResultPart, Usage
from tests.formats.answers import answer_of, calls_of, end_of, normalize, normalize_all, reasoning_of, text_of
from tests.formats.served import http_client
from tests.support.libraries import require

openai = require("openai")

USAGE = {
    "input_tokens": 3,
    "output_tokens": 2,
    "total_tokens": 5,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens_details": {"reasoning_tokens": 0},
}


def response(output: Sequence[dict[str, Any]] = (), **fields: Any) -> dict[str, Any]:
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": "m",
        "output": list(output),
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "status": "completed",
    } | fields


def message(text: str, *annotations: dict[str, Any]) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text, "annotations": list(annotations)}]
    return {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": content}


def function_call(arguments: str) -> dict[str, Any]:
    return {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "add", "arguments": arguments}


def numbered(*events: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"sequence_number": number, "output_index": 0, "item_id": "msg_1"} | event
        for number, event in enumerate(events)
    ]


CITED = {"type": "url_citation", "url": "https://a.example", "title": "A", "start_index": 0, "end_index": 1}
CREATED = {"type": "response.created", "response": response(status="in_progress")}
OPENED: list[dict[str, Any]] = [
    {"type": "response.output_item.added", "item": message("") | {"content": [], "status": "in_progress"}},
    {
        "type": "response.content_part.added",
        "content_index": 0,
        "part": {"type": "output_text", "text": "", "annotations": []},
    },
]
WORDS = numbered(
    CREATED,
    *OPENED,
    {"type": "response.output_text.delta", "content_index": 0, "delta": "Hel", "logprobs": []},
    {"type": "response.output_text.delta", "content_index": 0, "delta": "lo", "logprobs": []},
    {"type": "response.output_text.annotation.added", "content_index": 0, "annotation_index": 0, "annotation": CITED},
    {"type": "response.output_text.done", "content_index": 0, "text": "Hello", "logprobs": []},
    {"type": "response.output_item.done", "item": message("Hello", CITED)},
    {"type": "response.completed", "response": response([message("Hello", CITED)], usage=USAGE)},
)
TOOLS = numbered(
    CREATED,
    {"type": "response.output_item.added", "item": function_call("")},
    {"type": "response.function_call_arguments.delta", "item_id": "fc_1", "delta": '{"a":'},
    {"type": "response.function_call_arguments.delta", "item_id": "fc_1", "delta": "1}"},
    {"type": "response.function_call_arguments.done", "item_id": "fc_1", "arguments": '{"a":1}', "name": "add"},
    {"type": "response.output_item.done", "item": function_call('{"a":1}')},
    {"type": "response.completed", "response": response([function_call('{"a":1}')], usage=USAGE)},
)


def client(events: Any) -> Any:
    return openai.OpenAI(api_key="k", base_url="http://model.invalid", http_client=http_client(events))


def stream(events: Iterable[dict[str, Any]]) -> Iterator[Any]:
    yield from client(list(events)).responses.create(model="m", input="hi", stream=True)


def stream_with_helper(events: Iterable[dict[str, Any]]) -> Iterator[Any]:
    with client(list(events)).responses.stream(model="m", input="hi") as helper:
        yield from helper


SOURCES: list[Any] = [stream, stream_with_helper, list]


@pytest.mark.parametrize("source", SOURCES, ids=["raw", "helper", "dicts"])
def test_streamed_words_are_appended_once_with_source_reason_and_usage(source: Any):
    outputs = normalize_all(source(WORDS))
    assert text_of(outputs) == "Hello"
    assert [output for output in outputs if isinstance(output, PartAppended)] == [
        PartAppended(SourcePart("https://a.example", "A"))
    ]
    assert end_of(outputs) == ("stop", Usage(3, 2))


@pytest.mark.parametrize("source", SOURCES, ids=["raw", "helper", "dicts"])
def test_streamed_function_call_is_for_the_client(source: Any):
    outputs = normalize_all(source(TOOLS))
    assert calls_of(outputs) == {"call_1": ("add", '{"a":1}', "client")}
    assert end_of(outputs) == ("tool_calls", Usage(3, 2))


def test_reasoning_of_either_kind_is_kept_apart_with_paragraphs():
    outputs = normalize_all(
        numbered(
            {"type": "response.reasoning_summary_part.added", "summary_index": 0, "part": {}},
            {"type": "response.reasoning_summary_text.delta", "summary_index": 0, "delta": "One."},
            {"type": "response.reasoning_summary_part.added", "summary_index": 1, "part": {}},
            {"type": "response.reasoning_summary_text.delta", "summary_index": 1, "delta": "Two."},
            {"type": "response.reasoning_text.delta", "content_index": 0, "delta": " Raw."},
        )
    )
    assert (reasoning_of(outputs), text_of(outputs)) == ("One.\n\nTwo. Raw.", "")


def test_refusal_is_text():
    events = numbered({"type": "response.refusal.delta", "content_index": 0, "delta": "I can't."})
    assert text_of(normalize_all(stream(events))) == "I can't."


def test_call_whose_arguments_did_not_stream_is_whole():
    outputs = normalize_all(stream([TOOLS[1], TOOLS[5]]))
    assert calls_of(outputs) == {"call_1": ("add", '{"a":1}', "client")}
    assert calls_of(normalize_all(stream([TOOLS[5]]))) == {"call_1": ("add", '{"a":1}', "client")}


def test_arguments_of_a_call_that_was_never_opened_say_nothing():
    assert normalize_all(stream([TOOLS[2]])) == []


def test_mcp_call_ran_at_the_server_and_has_its_result():
    item = {"type": "mcp_call", "id": "mcp_1", "name": "roll", "server_label": "dice", "arguments": "{}", "output": "4"}
    events = numbered(
        {"type": "response.output_item.added", "item": item | {"arguments": "", "output": None}},
        {"type": "response.mcp_call_arguments.delta", "item_id": "mcp_1", "delta": "{}"},
        {"type": "response.output_item.done", "item": item},
    )
    outputs = normalize_all(stream(events))
    assert calls_of(outputs) == {"mcp_1": ("roll", "{}", "server")}
    assert outputs[-1] == PartAppended(ToolResultPart("mcp_1", "4"))


def test_failed_mcp_call_has_an_error_as_its_result():
    item = {
        "type": "mcp_call",
        "id": "mcp_1",
        "name": "roll",
        "server_label": "dice",
        "arguments": "{}",
        "error": "no dice",
    }
    outputs = normalize_all(stream(numbered({"type": "response.output_item.done", "item": item})))
    assert outputs[-1] == PartAppended(ToolResultPart("mcp_1", "no dice", is_error=True))


def test_generated_image_is_a_file():
    item = {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": "eA=="}
    outputs = normalize_all(stream(numbered({"type": "response.output_item.done", "item": item})))
    assert outputs == [PartAppended(LocalFile(b"x", "image.png", "image/png"))]


@pytest.mark.parametrize("as_dict", [False, True])
def test_whole_response_is_the_answer(as_dict: bool):
    reasoning = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}]}
    body = response([reasoning, message("Hello", CITED), function_call("{}")], usage=USAGE)
    value = body if as_dict else client(body).responses.create(model="m", input="hi")
    outputs = normalize(value)
    assert (reasoning_of(outputs), text_of(outputs)) == ("hm", "Hello")
    assert calls_of(outputs) == {"call_1": ("add", "{}", "client")}
    assert end_of(outputs) == ("tool_calls", Usage(3, 2))
    assert len(answer_of(outputs)) == 1


def test_last_event_alone_is_the_whole_answer():
    assert text_of(normalize_all(stream([WORDS[-1]]))) == "Hello"


@pytest.mark.parametrize(("reason", "word"), [("max_output_tokens", "length"), ("content_filter", "content_filter")])
def test_incomplete_response_says_why(reason: str, word: str):
    body = response([message("Hel")], status="incomplete", incomplete_details={"reason": reason})
    events = numbered({"type": "response.incomplete", "response": body})
    assert end_of(normalize_all(stream(events))) == (word, None)


@pytest.mark.parametrize(
    "event",
    [
        {"type": "error", "code": "server_error", "message": "overloaded", "param": None},
        {
            "type": "response.failed",
            "response": response(status="failed", error={"code": "server_error", "message": "overloaded"}),
        },
    ],
    ids=["error", "response.failed"],
)
def test_failure_of_the_model_is_no_answer(event: dict[str, Any]):
    with pytest.raises(AnswerInvalid, match="server_error: overloaded"):
        normalize_all(numbered(event))


CUSTOM = {"name": "sql", "input": "select 1; {"}
CUSTOM_ITEM = {"type": "custom_tool_call", "id": "ctc_1", "call_id": "c1", **CUSTOM}
CUSTOM_CALL = {"id": "c1", "type": "custom", "custom": CUSTOM}


@pytest.mark.parametrize(
    "value",
    [
        CUSTOM_ITEM,
        CUSTOM_CALL,
        openai.types.responses.ResponseCustomToolCall(**CUSTOM_ITEM),
        openai.types.chat.ChatCompletionMessageCustomToolCall(**CUSTOM_CALL),
    ],
)
def test_custom_call_is_added_to_the_answer(value: Any):
    assert normalize(value) == [PartAppended(ToolCallPart("c1", "sql", "select 1; {", kind="custom"))]


@pytest.mark.parametrize(
    "broken", [{"custom": {"name": "sql"}}, {"custom": CUSTOM, "id": 1}, {"input": "x", "name": 1}]
)
def test_broken_custom_call_is_no_answer(broken: dict[str, Any]):
    with pytest.raises(AnswerInvalid, match="call of a custom tool"):
        normalize({"type": "custom", "id": "c1", **broken})


def test_streamed_custom_call_is_one():
    values = numbered(
        {"type": "response.output_item.added", "item": {**CUSTOM_ITEM, "input": ""}},
        {"type": "response.custom_tool_call_input.delta", "item_id": "ctc_1", "delta": "select"},
        {"type": "response.custom_tool_call_input.delta", "item_id": "ctc_1", "delta": " 1; {"},
        {"type": "response.custom_tool_call_input.done", "item_id": "ctc_1", "input": "select 1; {"},
        {"type": "response.output_item.done", "item": CUSTOM_ITEM},
    )
    (message,) = answer_of(normalize_all(values))
    assert message.content == (ToolCallPart("c1", "sql", "select 1; {", kind="custom"),)
