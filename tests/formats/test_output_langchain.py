"""LangChain messages, made by the real langchain-core."""

from typing import Any

import pytest

from chatserve.contracts.formats import MessageAppended, ParsedMessage, PartAppended
from chatserve.core.errors import AnswerInvalid
from chatserve.core.types import LocalFile, SourcePart, TextPart, ToolResultPart, Usage
from tests.formats.answers import calls_of, end_of, normalize, normalize_all, reasoning_of, text_of
from tests.support.libraries import require

messages = require("langchain_core.messages")
fake = require("langchain_core.language_models.fake_chat_models")

AIMessage: Any = messages.AIMessage
AIMessageChunk: Any = messages.AIMessageChunk


def piece(name: str | None, args: str | None, call_id: str | None, index: int | None = 0) -> dict[str, Any]:
    return {"name": name, "args": args, "id": call_id, "index": index, "type": "tool_call_chunk"}


def used(input_tokens: int, output_tokens: int) -> dict[str, int]:
    total = input_tokens + output_tokens
    return {"input_tokens": input_tokens, "output_tokens": output_tokens, "total_tokens": total}


def test_chunks_that_a_model_streams_are_appended():
    model = fake.GenericFakeChatModel(messages=iter([AIMessage(content="hello big world")]))
    assert text_of(normalize_all(model.stream("hi"))) == "hello big world"


def test_pairs_of_chunk_and_metadata_are_read():
    pairs = [(AIMessageChunk(content=text), {"langgraph_node": "model"}) for text in ("hel", "lo")]
    assert text_of(normalize_all(pairs)) == "hello"


def test_dumped_message_is_read():
    assert text_of(normalize(AIMessageChunk(content="hello").model_dump())) == "hello"


def test_content_in_blocks_is_told_apart():
    blocks = [
        {"type": "thinking", "thinking": "hm", "index": 0},
        {"type": "reasoning", "reasoning": " so", "index": 1},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "."}]},
        {"type": "text", "text": "Yes", "index": 2},
        "!",
        {"type": "tool_use", "id": "c", "name": "f", "input": {}},
    ]
    outputs = normalize(AIMessageChunk(content=blocks))
    assert (reasoning_of(outputs), text_of(outputs)) == ("hm so.", "Yes!")


def test_reasoning_beside_the_content_is_read():
    assert reasoning_of(normalize(AIMessageChunk(content="", additional_kwargs={"reasoning_content": "hm"}))) == "hm"


def test_files_in_blocks_are_parts():
    blocks = [
        {"type": "image", "base64": "eA==", "mime_type": "image/png"},
        {"type": "image_url", "image_url": {"url": "https://a.example/b.png"}},
    ]
    assert normalize(AIMessage(content=blocks)) == [
        PartAppended(LocalFile(b"x", None, "image/png")),
        PartAppended(SourcePart("https://a.example/b.png")),
    ]


def test_streamed_tool_calls_are_told_apart_by_index():
    chunks = [
        AIMessageChunk(content="", id="r1", tool_call_chunks=[piece("add", "", "c1")]),
        AIMessageChunk(content="", id="r1", tool_call_chunks=[piece(None, '{"a":', None), piece("now", "{}", "c2", 1)]),
        AIMessageChunk(content="", id="r1", tool_call_chunks=[piece(None, "1}", None)]),
        AIMessageChunk(content="", id="r1", response_metadata={"finish_reason": "tool_calls"}),
    ]
    outputs = normalize_all(chunks)
    assert calls_of(outputs) == {"c1": ("add", '{"a":1}', "client"), "c2": ("now", "{}", "client")}
    assert end_of(outputs) == ("tool_calls", None)


def test_whole_calls_without_index_are_told_apart_by_id():
    chunks = [
        AIMessageChunk(content="", tool_call_chunks=[piece("f", "{}", call_id, None)]) for call_id in ("c1", "c2")
    ]
    assert list(calls_of(normalize_all(chunks))) == ["c1", "c2"]


def test_usage_of_chunks_adds_up_over_the_turn():
    chunks = [
        AIMessageChunk(content="", id="r1", usage_metadata=used(3, 0)),
        AIMessageChunk(content="", id="r1", usage_metadata=used(0, 2), response_metadata={"stop_reason": "end_turn"}),
        AIMessageChunk(content="", id="r2", usage_metadata=used(1, 1)),
    ]
    assert end_of(normalize_all(chunks)) == ("stop", Usage(4, 3))


@pytest.mark.parametrize(("reason", "word"), [("STOP", "stop"), ("MAX_TOKENS", "length"), ("SAFETY", "content_filter")])
def test_finish_reasons_of_google_are_known(reason: str, word: str):
    assert end_of(normalize(AIMessageChunk(content="", response_metadata={"finish_reason": reason}))) == (word, None)


def test_whole_message_is_the_answer():
    call = {"name": "f", "args": {"a": 1}, "id": "c", "type": "tool_call"}
    broken = {"name": "g", "args": "{", "id": "d", "error": "cut", "type": "invalid_tool_call"}
    value = AIMessage(content="hello", tool_calls=[call], invalid_tool_calls=[broken], usage_metadata=used(3, 2))
    outputs = normalize(value)
    assert text_of(outputs) == "hello"
    assert calls_of(outputs) == {"c": ("f", '{"a":1}', "client"), "d": ("g", "{", "client")}
    assert end_of(outputs) == (None, Usage(3, 2))


def test_whole_message_after_its_own_chunks_says_nothing_new():
    model = fake.GenericFakeChatModel(messages=iter([AIMessage(content="hello world")]))
    chunks = list(model.stream("hi"))
    whole = messages.message_chunk_to_message(chunks[0] + chunks[1] + chunks[2])
    assert whole.id == chunks[0].id
    assert text_of(normalize_all([*chunks, whole])) == "hello world"


@pytest.mark.parametrize(("status", "is_error"), [("success", False), ("error", True)])
def test_message_of_a_tool_is_its_result(status: str, is_error: bool):
    value = messages.ToolMessage(content="21", tool_call_id="c", status=status)
    assert normalize(value) == [PartAppended(ToolResultPart("c", "21", is_error))]


@pytest.mark.parametrize(
    ("kind", "fields", "role"),
    [
        ("HumanMessage", {}, "user"),
        ("SystemMessage", {}, "system"),
        ("ChatMessage", {"role": "developer"}, "developer"),
    ],
)
def test_message_of_another_role_keeps_it(kind: str, fields: dict[str, Any], role: str):
    value = getattr(messages, kind)(content="hi", **fields)
    assert normalize(value) == [MessageAppended(ParsedMessage(role, (TextPart("hi"),)))]


def test_pair_of_other_things_is_refused():
    with pytest.raises(AnswerInvalid, match=r"a tuple of 2 values"):
        normalize(("a", {"b": 1}))
