"""History as messages."""

from typing import Any

import pytest

from chatserve.contracts.formats import ParsedMessage, RenderOptions
from chatserve.core.errors import InputsInvalid
from chatserve.core.types import (
    DataPart,
    FilePart,
    Message,
    ReasoningPart,
    SourcePart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from chatserve.formats.history import HISTORY_FORMATS
from tests.formats.conversations import CALL, IMAGE, MULTIMODAL, RESULT, TEXT_ONLY, assistant, message, user

FORMAT = HISTORY_FORMATS["messages"]
OPENAI_CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}}
GRADIO_FILE = {
    "type": "file",
    "file": {"path": "/files/f_1", "orig_name": "cat.png", "mime_type": "image/png", "size": 3},
}


def text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


RENDERED: dict[str, tuple[Message, list[Any], list[Any]]] = {
    "text": (user("hi"), [{"role": "user", "content": "hi"}], [{"role": "user", "content": [text("hi")]}]),
    "system": (
        message("system", "be kind"),
        [{"role": "system", "content": "be kind"}],
        [{"role": "system", "content": [text("be kind")]}],
    ),
    "text and file": (
        user("look", IMAGE),
        [{"role": "user", "content": "look"}],
        [{"role": "user", "content": [text("look"), GRADIO_FILE]}],
    ),
    "files alone": (
        user(IMAGE, FilePart("f_2", "b.txt", "text/plain", 1)),
        [{"role": "user", "content": "cat.png\nb.txt"}],
        [
            {
                "role": "user",
                "content": [
                    GRADIO_FILE,
                    {
                        "type": "file",
                        "file": {"path": "/files/f_2", "orig_name": "b.txt", "mime_type": "text/plain", "size": 1},
                    },
                ],
            }
        ],
    ),
    "reasoning": (
        assistant(ReasoningPart("hm"), "yes"),
        [{"role": "assistant", "content": "yes"}],
        [{"role": "assistant", "content": [text("yes")]}],
    ),
    "data alone": (
        assistant(DataPart({"a": [1]}, "n")),
        [{"role": "assistant", "content": '{"a":[1]}'}],
        [{"role": "assistant", "content": [{"type": "data", "data": {"a": [1]}, "name": "n"}]}],
    ),
    "text with data and source": (
        assistant("see", DataPart(1), SourcePart("https://a.example")),
        [{"role": "assistant", "content": "see"}],
        [
            {
                "role": "assistant",
                "content": [text("see"), {"type": "data", "data": 1}, {"type": "source", "url": "https://a.example"}],
            }
        ],
    ),
    "nothing": (assistant(), [{"role": "assistant", "content": ""}], [{"role": "assistant", "content": []}]),
    "thought": (
        assistant("hm", metadata={"title": "Search", "log": ["x"]}, options=({"value": "a"},)),
        [
            {
                "role": "assistant",
                "content": "hm",
                "metadata": {"title": "Search", "log": ["x"]},
                "options": [{"value": "a"}],
            }
        ],
        [
            {
                "role": "assistant",
                "content": [text("hm")],
                "metadata": {"title": "Search", "log": ["x"]},
                "options": [{"value": "a"}],
            }
        ],
    ),
    "tool call": (
        assistant("let me see", CALL),
        [{"role": "assistant", "content": "let me see", "tool_calls": [OPENAI_CALL]}],
        [{"role": "assistant", "content": [text("let me see")], "tool_calls": [OPENAI_CALL]}],
    ),
    "results from the client": (
        message("tool", RESULT, ToolResultPart("c2", "plain")),
        [
            {"role": "tool", "content": '{"sum":2}', "tool_call_id": "c1"},
            {"role": "tool", "content": "plain", "tool_call_id": "c2"},
        ],
        [
            {"role": "tool", "content": [text('{"sum":2}')], "tool_call_id": "c1"},
            {"role": "tool", "content": [text("plain")], "tool_call_id": "c2"},
        ],
    ),
    "tool that ran at the server": (
        assistant("let me see", CALL, RESULT, "it is 2"),
        [
            {"role": "assistant", "content": "let me see", "tool_calls": [OPENAI_CALL]},
            {"role": "tool", "content": '{"sum":2}', "tool_call_id": "c1"},
            {"role": "assistant", "content": "it is 2"},
        ],
        [
            {"role": "assistant", "content": [text("let me see")], "tool_calls": [OPENAI_CALL]},
            {"role": "tool", "content": [text('{"sum":2}')], "tool_call_id": "c1"},
            {"role": "assistant", "content": [text("it is 2")]},
        ],
    ),
}


@pytest.mark.parametrize(("stored", "plain", "parts"), RENDERED.values(), ids=RENDERED.keys())
def test_content_is_text_or_parts_as_the_chat_wants(stored: Message, plain: list[Any], parts: list[Any]):
    assert FORMAT.render([stored], TEXT_ONLY) == plain
    assert FORMAT.render([stored], MULTIMODAL) == parts


def test_message_with_an_empty_mapping_has_no_such_key():
    assert FORMAT.render([user("hi", metadata={}, options=())], TEXT_ONLY) == [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize("options", [TEXT_ONLY, MULTIMODAL])
def test_what_is_rendered_shares_nothing_with_what_is_stored(options: RenderOptions):
    def stored() -> list[Message]:
        data = assistant(DataPart({"a": [1]}))
        return [data, assistant("x", metadata={"log": ["a"]}, options=({"value": ["b"]},))]

    messages = stored()
    entries = FORMAT.render(messages, options)
    entries[1]["metadata"]["log"].append("changed")
    entries[1]["options"][0]["value"].append("changed")
    if options.multimodal:
        entries[0]["content"][0]["data"]["a"].append("changed")
    assert messages == stored()


PARSED: dict[str, tuple[Any, ParsedMessage]] = {
    "text": ({"role": "user", "content": "hi"}, ParsedMessage("user", (TextPart("hi"),))),
    "more keys": (
        {"role": "user", "content": "hi", "message_id": "m", "status": "x", "metadata": None, "options": None},
        ParsedMessage("user", (TextPart("hi"),)),
    ),
    "lone surrogate": ({"role": "user", "content": "\ud800"}, ParsedMessage("user", (TextPart("\ufffd"),))),
    "parts": (
        {"role": "user", "content": [text("hi"), "you", {"type": "file", "file_id": "f_1"}]},
        ParsedMessage("user", (TextPart("hi"), TextPart("you"), FilePart("f_1", "", "application/octet-stream", 0))),
    ),
    "file as the server lists it": (
        {
            "role": "user",
            "content": [
                {
                    "type": "file",
                    "file_id": "f_1",
                    "name": "cat.png",
                    "media_type": "image/png",
                    "size": 3,
                    "url": "/files/f_1",
                }
            ],
        },
        ParsedMessage("user", (IMAGE,)),
    ),
    "other parts as the server lists them": (
        {
            "role": "assistant",
            "content": [
                {"type": "reasoning", "text": "hm"},
                {"type": "data", "data": [1]},
                {"type": "tool_call", "tool_call_id": "c1", "name": "add", "arguments": '{"a":1}', "where": "client"},
                {"type": "tool_result", "tool_call_id": "c1", "output": {"sum": 2}, "is_error": False},
                {"type": "source", "url": "https://a.example"},
            ],
        },
        ParsedMessage("assistant", (ReasoningPart("hm"), DataPart([1]), CALL, RESULT, SourcePart("https://a.example"))),
    ),
    "metadata and options": (
        {"role": "assistant", "content": "a", "metadata": {"title": "T"}, "options": [{"value": 1}]},
        ParsedMessage("assistant", (TextPart("a"),), {"title": "T"}, ({"value": 1},)),
    ),
    "tool calls as OpenAI shapes them": (
        {"role": "assistant", "content": None, "tool_calls": [OPENAI_CALL]},
        ParsedMessage("assistant", (CALL,)),
    ),
    "result of a tool": (
        {"role": "tool", "tool_call_id": "c1", "content": "2"},
        ParsedMessage("tool", (ToolResultPart("c1", "2"),)),
    ),
}


@pytest.mark.parametrize(("entry", "parsed"), PARSED.values(), ids=PARSED.keys())
def test_entry_from_outside_is_read(entry: Any, parsed: ParsedMessage):
    assert FORMAT.parse([entry]) == (parsed,)


REFUSED: dict[str, tuple[Any, str]] = {
    "no object": ("hi", r"entry 1: it is 'hi'"),
    "unknown role": ({"role": "bot", "content": "a"}, r"entry 1: the role 'bot' is unknown; use one of assistant"),
    "unhashable role": ({"role": [], "content": "a"}, r"entry 1: the role \[\]"),
    "no role": ({"content": "a"}, r"entry 1: the role None"),
    "no content": ({"role": "user"}, r"entry 1: it has no content"),
    "content of a number": ({"role": "user", "content": 3}, r"entry 1: cannot read the content 3"),
    "local path": ({"role": "user", "content": {"path": "/etc/passwd"}}, r"entry 1: cannot read.*/etc/passwd"),
    "local path as Gradio shapes it": (
        {"role": "user", "content": [{"type": "file", "file": {"path": "/etc/passwd"}}]},
        r"entry 1: cannot read.*/etc/passwd",
    ),
    "address of an image": (
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://10.0.0.1/"}}]},
        r"entry 1: cannot read.*10\.0\.0\.1",
    ),
    "file id of a number": ({"role": "user", "content": [{"type": "file", "file_id": 3}]}, r"entry 1: cannot read"),
    "text of a number": ({"role": "user", "content": [{"type": "text", "text": 3}]}, r"entry 1: cannot read"),
    "unknown part": ({"role": "user", "content": [{"type": ["x"]}]}, r"entry 1: cannot read"),
    "broken part": ({"role": "user", "content": [{"type": "reasoning"}]}, r"entry 1: not a message part"),
    "part with a number for text": (
        {"role": "user", "content": [{"type": "reasoning", "text": 3}]},
        r"entry 1:.*broken",
    ),
    "call that runs nowhere": (
        {
            "role": "user",
            "content": [{"type": "tool_call", "tool_call_id": "c", "name": "f", "arguments": "", "where": 1}],
        },
        r"entry 1:.*broken",
    ),
    "metadata of text": ({"role": "user", "content": "a", "metadata": "x"}, r"entry 1: metadata is 'x'"),
    "options of text": ({"role": "user", "content": "a", "options": ["x"]}, r"entry 1: options are \['x'\]"),
    "tool calls of another shape": ({"role": "assistant", "tool_calls": [{"id": 1}]}, r"entry 1: the tool_calls"),
    "tool calls of numbers": (
        {"role": "assistant", "tool_calls": [{"id": 1, "function": {"name": "f", "arguments": ""}}]},
        r"entry 1: the tool_calls",
    ),
}


@pytest.mark.parametrize(("entry", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_entry_that_cannot_be_trusted_or_read_is_refused_by_number(entry: Any, words: str):
    with pytest.raises(InputsInvalid, match=words) as caught:
        FORMAT.parse([{"role": "user", "content": "fine"}, entry])
    assert caught.value.extra["errors"][0]["loc"] == ["history", 1]


def test_history_that_is_no_list_is_refused():
    with pytest.raises(InputsInvalid, match=r"history is 'hi'"):
        FORMAT.parse("hi")


def test_text_history_survives_the_way_out_and_in():
    messages = [user("hi"), assistant("let me see", CALL), message("tool", ToolResultPart("c1", "2")), assistant("2")]
    parsed = FORMAT.parse(FORMAT.render(messages, TEXT_ONLY))
    assert [(entry.role, entry.content) for entry in parsed] == [(each.role, each.content) for each in messages]


def test_call_of_no_arguments_is_read():
    entry = {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": ""}}]}
    assert FORMAT.parse([entry])[0].content == (ToolCallPart("c", "f", ""),)
