"""Anthropic Messages as the real SDK delivers them."""

from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from chatserve.contracts.formats import PartAppended
from chatserve.core.errors import AnswerInvalid
from chatserve.core.types import SourcePart, ToolResultPart, Usage
from tests.formats.answers import calls_of, end_of, normalize, normalize_all, reasoning_of, text_of
from tests.formats.served import http_client
from tests.support.libraries import require

anthropic = require("anthropic")

ASKED: Any = {"model": "m", "max_tokens": 10, "messages": [{"role": "user", "content": "hi"}]}


def message(*content: dict[str, Any], response: str = "msg_1", **fields: Any) -> dict[str, Any]:
    return {
        "id": response,
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": list(content),
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 3, "cache_read_input_tokens": 4, "output_tokens": 1},
    } | fields


def block(index: int, start: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": start},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def told(*blocks: list[dict[str, Any]], stop_reason: str = "end_turn", response: str = "msg_1") -> list[dict[str, Any]]:
    return [
        {"type": "message_start", "message": message(response=response)},
        {"type": "ping"},
        *(event for events in blocks for event in events),
        {
            "type": "message_delta",
            "delta": {"stop_reason": stop_reason, "stop_sequence": None},
            "usage": {"output_tokens": 9},
        },
        {"type": "message_stop"},
    ]


TEXT = block(
    1,
    {"type": "text", "text": ""},
    {"type": "text_delta", "text": "Hel"},
    {"type": "text_delta", "text": "lo"},
    {
        "type": "citations_delta",
        "citation": {
            "type": "web_search_result_location",
            "url": "https://a.example",
            "title": "A",
            "cited_text": "a",
            "encrypted_index": "e",
        },
    },
)
THINKING = block(
    0,
    {"type": "thinking", "thinking": "", "signature": ""},
    {"type": "thinking_delta", "thinking": "hm"},
    {"type": "signature_delta", "signature": "s"},
)
TOOL = block(
    2,
    {"type": "tool_use", "id": "toolu_1", "name": "add", "input": {}},
    {"type": "input_json_delta", "partial_json": ""},
    {"type": "input_json_delta", "partial_json": '{"a":'},
    {"type": "input_json_delta", "partial_json": "1}"},
)
ALL = told(THINKING, TEXT, TOOL, stop_reason="tool_use")


def client(events: Any) -> Any:
    return anthropic.Anthropic(api_key="k", base_url="http://model.invalid", http_client=http_client(events))


def stream(events: Iterable[dict[str, Any]]) -> Iterator[Any]:
    yield from client(list(events)).messages.create(**ASKED, stream=True)


def stream_with_helper(events: Iterable[dict[str, Any]]) -> Iterator[Any]:
    with client(list(events)).messages.stream(**ASKED) as helper:
        yield from helper


SOURCES: list[Any] = [stream, stream_with_helper, list]


@pytest.mark.parametrize("source", SOURCES, ids=["raw", "helper", "dicts"])
def test_everything_streamed_is_said_once(source: Any):
    outputs = normalize_all(source(ALL))
    assert (reasoning_of(outputs), text_of(outputs)) == ("hm", "Hello")
    assert calls_of(outputs) == {"toolu_1": ("add", '{"a":1}', "client")}
    assert [output for output in outputs if isinstance(output, PartAppended)] == [
        PartAppended(SourcePart("https://a.example", "A"))
    ]
    assert end_of(outputs) == ("tool_calls", Usage(7, 9))


def test_helper_events_alone_suffice_for_text_and_thinking():
    events = [event for event in stream_with_helper(ALL) if event.type in {"text", "thinking"}]
    outputs = normalize_all(events)
    assert (reasoning_of(outputs), text_of(outputs)) == ("hm", "Hello")


def test_helper_events_of_one_kind_and_raw_events_of_another_mix():
    events = [event for event in stream_with_helper(ALL) if event.type == "thinking" or _is_raw_text(event)]
    outputs = normalize_all(events)
    assert (reasoning_of(outputs), text_of(outputs)) == ("hm", "Hello")


def _is_raw_text(event: Any) -> bool:
    return event.type == "content_block_delta" and event.delta.type == "text_delta"


def test_tool_call_without_arguments_has_an_empty_object():
    call = block(
        0,
        {"type": "tool_use", "id": "toolu_1", "name": "now", "input": {}},
        {"type": "input_json_delta", "partial_json": ""},
    )
    assert calls_of(normalize_all(stream(told(call)))) == {"toolu_1": ("now", "{}", "client")}


def test_tool_of_the_model_ran_at_the_server_and_has_its_result():
    call = block(
        0,
        {"type": "server_tool_use", "id": "srv_1", "name": "web_search", "input": {}},
        {"type": "input_json_delta", "partial_json": '{"query":"a"}'},
    )
    found = {"type": "web_search_tool_result_error", "error_code": "unavailable"}
    result = block(1, {"type": "web_search_tool_result", "tool_use_id": "srv_1", "content": found})
    outputs = normalize_all(stream(told(call, result)))
    assert calls_of(outputs) == {"srv_1": ("web_search", '{"query":"a"}', "server")}
    (output,) = [output for output in outputs if isinstance(output, PartAppended)]
    assert (output.part.tool_call_id, output.part.output["error_code"], output.part.is_error) == (
        "srv_1",
        "unavailable",
        True,
    )


@pytest.mark.parametrize(
    ("reason", "word"),
    [("end_turn", "stop"), ("stop_sequence", "stop"), ("max_tokens", "length"), ("refusal", "content_filter")],
)
def test_stop_reason_is_in_words_of_chatserve(reason: str, word: str):
    assert end_of(normalize_all(stream(told(stop_reason=reason))))[0] == word


def test_two_responses_in_one_turn_add_up():
    outputs = normalize_all([*stream(told(TOOL)), *stream(told(TEXT, response="msg_2"))])
    assert end_of(outputs) == ("stop", Usage(14, 18))


@pytest.mark.parametrize("as_dict", [False, True])
def test_whole_message_is_the_answer(as_dict: bool):
    body = message(
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "text", "text": "Hello"},
        {"type": "tool_use", "id": "toolu_1", "name": "add", "input": {"a": 1}},
        {"type": "tool_use", "id": "toolu_2", "name": "now", "input": {}},
        stop_reason="tool_use",
    )
    outputs = normalize(body if as_dict else client(body).messages.create(**ASKED))
    assert (reasoning_of(outputs), text_of(outputs)) == ("hm", "Hello")
    assert calls_of(outputs) == {"toolu_1": ("add", '{"a":1}', "client"), "toolu_2": ("now", "{}", "client")}
    assert end_of(outputs) == ("tool_calls", Usage(7, 1))


def test_whole_message_after_its_own_stream_adds_only_its_end():
    with client(ALL).messages.stream(**ASKED) as helper:
        values = [*helper, helper.get_final_message()]
    outputs = normalize_all(values)
    assert (text_of(outputs), end_of(outputs)) == ("Hello", ("tool_calls", Usage(7, 9)))


def test_whole_message_after_its_text_events_adds_only_its_end():
    with client(ALL).messages.stream(**ASKED) as helper:
        values = [event for event in helper if event.type == "text"]
        values.append(helper.get_final_message())
    outputs = normalize_all(values)
    assert (text_of(outputs), end_of(outputs)) == ("Hello", ("tool_calls", Usage(7, 9)))


def test_failure_of_the_model_is_no_answer():
    with pytest.raises(AnswerInvalid, match="overloaded_error: Overloaded"):
        normalize({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})


def test_result_of_an_mcp_tool_is_kept():
    body = message(
        {"type": "mcp_tool_result", "tool_use_id": "m_1", "is_error": False, "content": [{"type": "text", "text": "4"}]}
    )
    assert normalize(body)[0] == PartAppended(ToolResultPart("m_1", [{"type": "text", "text": "4"}]))
