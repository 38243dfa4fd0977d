"""Chat completions as the real openai SDK and huggingface_hub deliver them."""

from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from chatserve.contracts.formats import PartAppended, ReasoningAppended, TextAppended
from chatserve.core.types import SourcePart, TextPart, Usage
from chatserve.formats.output import AnswerNormalizer
from tests.formats.answers import (
    DELTAS,
    SNAPSHOTS,
    answer_of,
    calls_of,
    end_of,
    normalize,
    normalize_all,
    reasoning_of,
    text_of,
)
from tests.formats.served import http_client
from tests.support.libraries import require

openai = require("openai")
huggingface_hub = require("huggingface_hub")

MESSAGES: Any = [{"role": "user", "content": "hi"}]


def chunk(delta: dict[str, Any] | None = None, *, response: str = "r1", **choice: Any) -> dict[str, Any]:
    choices = [] if delta is None else [{"index": 0, "delta": delta, **choice}]
    return {"id": response, "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices}


def called(index: int, call_id: str | None, name: str | None, arguments: str) -> dict[str, Any]:
    call = {"index": index, "function": {"name": name, "arguments": arguments}}
    return {"tool_calls": [call | ({"id": call_id, "type": "function"} if call_id else {})]}


WORDS = [
    chunk({"role": "assistant", "content": ""}),
    chunk({"content": "Hel"}),
    chunk({"content": "lo"}, logprobs=None),
    chunk({}, finish_reason="stop"),
    chunk() | {"usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}},
]
TOOLS = [
    chunk({"content": "Let me see."}),
    chunk(called(0, "c1", "add", "")),
    chunk(called(0, None, None, '{"a":')),
    chunk(called(1, "c2", "now", "")),
    chunk(called(0, None, None, "1}")),
    chunk(called(1, None, None, "{}")),
    chunk({}, finish_reason="tool_calls"),
]


def stream(events: Iterable[dict[str, Any]]) -> Iterator[Any]:
    client = openai.OpenAI(api_key="k", base_url="http://model.invalid", http_client=http_client(list(events)))
    yield from client.chat.completions.create(model="m", messages=MESSAGES, stream=True)


def stream_with_helper(events: Iterable[dict[str, Any]]) -> Iterator[Any]:
    client = openai.OpenAI(api_key="k", base_url="http://model.invalid", http_client=http_client(list(events)))
    with client.chat.completions.stream(model="m", messages=MESSAGES) as helper:
        yield from helper


def complete(message: dict[str, Any], **choice: Any) -> Any:
    body = {
        "id": "r1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop", **choice}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    }
    client = openai.OpenAI(api_key="k", base_url="http://model.invalid", http_client=http_client(body))
    return client.chat.completions.create(model="m", messages=MESSAGES)


def hugging_face(events: Iterable[dict[str, Any]]) -> list[Any]:
    output = huggingface_hub.ChatCompletionStreamOutput
    return [output.parse_obj_as_instance({k: v for k, v in event.items() if k != "object"}) for event in events]


def without_usage(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event for event in events if event["choices"]]


SOURCES: list[Any] = [stream, hugging_face, list]


@pytest.mark.parametrize("view", [SNAPSHOTS, DELTAS])
@pytest.mark.parametrize("source", SOURCES, ids=["openai", "huggingface_hub", "dicts"])
def test_streamed_words_are_appended_with_reason_and_usage(source: Any, view: Any):
    outputs = normalize_all(source(WORDS), view)
    assert [output for output in outputs if isinstance(output, TextAppended)] == [
        TextAppended("Hel"),
        TextAppended("lo"),
    ]
    assert end_of(outputs) == ("stop", Usage(3, 2))


@pytest.mark.parametrize("source", SOURCES, ids=["openai", "huggingface_hub", "dicts"])
def test_streamed_tool_calls_are_told_apart_by_index(source: Any):
    outputs = normalize_all(source(TOOLS))
    assert text_of(outputs) == "Let me see."
    assert calls_of(outputs) == {"c1": ("add", '{"a":1}', "client"), "c2": ("now", "{}", "client")}
    assert end_of(outputs) == ("tool_calls", None)


def test_events_of_the_stream_helper_are_not_doubled():
    assert text_of(normalize_all(stream_with_helper(WORDS))) == "Hello"
    assert calls_of(normalize_all(stream_with_helper(TOOLS))) == calls_of(normalize_all(stream(TOOLS)))


def test_content_events_of_the_stream_helper_suffice():
    events = [event for event in stream_with_helper(WORDS) if event.type == "content.delta"]
    assert text_of(normalize_all(events)) == "Hello"


def test_tool_events_of_the_stream_helper_suffice():
    events = [event for event in stream_with_helper(TOOLS) if "tool_calls" in event.type]
    assert [call[:2] for call in calls_of(normalize_all(events)).values()] == [("add", '{"a":1}'), ("now", "{}")]


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
def test_reasoning_is_kept_apart_from_the_text(name: str):
    outputs = normalize_all(stream([chunk({name: "hm"}), chunk({name: " so"}), chunk({"content": "Yes"})]))
    assert (reasoning_of(outputs), text_of(outputs)) == ("hm so", "Yes")


def test_reasoning_sent_under_both_names_is_not_doubled():
    assert reasoning_of(normalize_all(stream([chunk({"reasoning": "hm", "reasoning_content": "hm"})]))) == "hm"


def test_refusal_is_text():
    assert text_of(normalize_all(stream([chunk({"refusal": "I can't."})]))) == "I can't."
    assert text_of(normalize(complete({"content": None, "refusal": "I can't."}))) == "I can't."


def test_chunk_without_choices_and_usage_says_nothing():
    assert normalize_all(stream([chunk() | {"object": ""}])) == []


def test_only_the_first_choice_counts():
    second = chunk({"content": "no"}, index=1)
    second["choices"].append({"index": 0, "delta": {"content": "yes"}})
    assert text_of(normalize_all(stream([second]))) == "yes"


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        ("length", "length"),
        ("content_filter", "content_filter"),
        ("eos_token", "stop"),
        ("function_call", "tool_calls"),
    ],
)
def test_finish_reason_is_in_words_of_chatserve(reason: str, word: str):
    assert end_of(normalize_all([chunk({}, finish_reason=reason)])) == (word, None)


def test_unknown_finish_reason_is_left_open():
    assert normalize_all([chunk({}, finish_reason="mystery")]) == []


def test_calls_that_share_an_index_are_told_apart_by_id():
    outputs = normalize_all([chunk(called(0, "c1", "f", "{}")), chunk(called(0, "c2", "g", "[]"))])
    assert calls_of(outputs) == {"c1": ("f", "{}", "client"), "c2": ("g", "[]", "client")}


def test_calls_without_ids_get_ids_of_their_own():
    outputs = normalize_all(
        [chunk(called(0, None, "f", "{")), chunk(called(0, None, None, "}")), chunk(called(1, None, "g", ""))]
    )
    assert list(calls_of(outputs).values()) == [("f", "{}", "client"), ("g", "", "client")]


def test_two_responses_in_one_turn_add_up():
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    first = [chunk(called(0, "c1", "f", "{}")), chunk({}, finish_reason="tool_calls"), chunk() | {"usage": usage}]
    second = [
        chunk(called(0, "c2", "f", "[]"), response="r2"),
        chunk({}, response="r2", finish_reason="stop") | {"usage": {"prompt_tokens": 1, "completion_tokens": 1}},
        chunk(response="r2") | {"usage": usage},
    ]
    outputs = normalize_all([*stream(first), *stream(second)])
    assert end_of(outputs) == ("stop", Usage(6, 4))
    assert list(calls_of(outputs)) == ["c1", "c2"]


def test_whole_completion_is_the_answer():
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    cited = {
        "type": "url_citation",
        "url_citation": {"url": "https://a.example", "title": "A", "start_index": 0, "end_index": 1},
    }
    outputs = normalize(complete({"content": "Hello", "tool_calls": [call], "annotations": [cited]}))
    assert calls_of(outputs) == {"c": ("f", "{}", "client")}
    assert end_of(outputs) == ("stop", Usage(3, 2))
    assert PartAppended(SourcePart("https://a.example", "A")) in outputs
    assert answer_of(outputs)[0].text == "Hello"


def test_whole_completion_after_its_own_chunks_adds_only_the_end():
    outputs = normalize_all([*stream(without_usage(WORDS)), complete({"content": "Hello"})])
    assert (text_of(outputs), end_of(outputs)) == ("Hello", ("stop", Usage(3, 2)))


def test_whole_completion_of_hugging_face_is_the_answer():
    body = complete({"content": "Hello", "reasoning": "hm"}).model_dump(exclude={"object"})
    outputs = normalize(huggingface_hub.ChatCompletionOutput.parse_obj_as_instance(body))
    assert (reasoning_of(outputs), text_of(outputs), end_of(outputs)) == ("hm", "Hello", ("stop", Usage(3, 2)))


def test_message_of_a_completion_is_a_message():
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    (output,) = normalize(complete({"content": "Hello", "tool_calls": [call]}).choices[0].message)
    (message,) = output.messages
    assert (message.role, message.content[0], message.content[1].name) == ("assistant", TextPart("Hello"), "f")


def test_content_in_blocks_is_read():
    blocks = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Yes"}]
    assert normalize_all([chunk({"content": blocks})]) == [ReasoningAppended("hm"), TextAppended("Yes")]


def test_state_of_one_turn_is_not_seen_by_another():
    first, second = AnswerNormalizer(), AnswerNormalizer()
    for event in stream(WORDS):
        first.normalize(event, SNAPSHOTS)
    assert text_of(second.normalize(complete({"content": "Hello"}), SNAPSHOTS)) == "Hello"
