"""Plain values: text, messages, lists, whole histories, files, data."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatserve.contracts.formats import (
    AnswerView,
    MessageAppended,
    ParsedMessage,
    PartAppended,
    TextAppended,
)
from chatserve.core.errors import AnswerInvalid
from chatserve.core.types import (
    ChatMessage,
    DataPart,
    File,
    FilePart,
    LocalFile,
    ReasoningPart,
    SourcePart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from chatserve.formats.output import OUTPUT_NORMALIZERS, AnswerNormalizer
from tests.formats.answers import DELTAS, SNAPSHOTS, answer_of, normalize, said, snapshot


@dataclass
class GradioChatMessage:
    """The fields of gradio.ChatMessage."""

    content: Any
    role: str = "assistant"
    metadata: dict[str, Any] = field(default_factory=dict)
    options: list[dict[str, Any]] = field(default_factory=list)


class Weather(pydantic.BaseModel):
    city: str
    degrees: float


class TextBlock(pydantic.BaseModel):
    type: str = "text"
    text: str


class Opaque(pydantic.BaseModel, arbitrary_types_allowed=True):
    secret: object


@dataclass
class Report:
    title: str
    weather: Weather


class Word(str, Enum):  # noqa: UP042 - str.__str__ of such an Enum is its member name, which must not be shown
    YES = "yes"


def assistant(*parts: Any, **extras: Any) -> ParsedMessage:
    return ParsedMessage("assistant", parts, **extras)


THOUGHT = {"title": "Search", "id": 1, "status": "pending"}

MESSAGES: dict[str, tuple[Any, ParsedMessage]] = {
    "text": ("hello", said("hello")),
    "empty text": ("", said("")),
    "str enum": (Word.YES, said("yes")),
    "dict without role": ({"content": "hello"}, said("hello")),
    "dict of another dict class": (OrderedDict(content="hello"), said("hello")),
    "dict with role": ({"role": "system", "content": "be kind"}, ParsedMessage("system", (TextPart("be kind"),))),
    "dict without content": ({"content": None}, assistant()),
    "dict with nulls for extras": ({"role": "assistant", "content": "a", "metadata": None, "options": None}, said("a")),
    "ChatMessage": (ChatMessage("hello"), said("hello")),
    "ChatMessage with metadata": (
        ChatMessage("found", metadata=THOUGHT),
        assistant(TextPart("found"), metadata=THOUGHT),
    ),
    "Gradio's ChatMessage": (
        GradioChatMessage("which?", options=[{"value": "a", "label": "A"}, {"label": "B"}]),
        assistant(TextPart("which?"), options=({"value": "a", "label": "A"}, {"value": "B", "label": "B"})),
    ),
    "any object with role and content": (
        SimpleNamespace(role="user", content="hi"),
        ParsedMessage("user", (TextPart("hi"),)),
    ),
    "metadata of any JSON": (
        {"content": "a", "metadata": {1: float("nan"), "own": [{"deep": (1, 2)}]}},
        assistant(TextPart("a"), metadata={"1": None, "own": [{"deep": [1, 2]}]}),
    ),
    "content list": (
        {"content": ["see", {"type": "text", "text": "this"}, Path("/tmp/a.png")]},
        assistant(TextPart("see"), TextPart("this"), LocalFile(Path("/tmp/a.png"))),
    ),
    "content with Gradio 6 parts": (
        {
            "content": [
                {
                    "type": "file",
                    "file": {"path": "/tmp/a.png", "orig_name": "cat.png", "mime_type": "image/png"},
                    "alt_text": "cat",
                }
            ]
        },
        assistant(LocalFile(Path("/tmp/a.png"), "cat.png", "image/png", is_named=True)),
    ),
    "content that is a path dict": (
        {"content": {"path": "/tmp/a.png"}},
        assistant(LocalFile(Path("/tmp/a.png"), is_named=True)),
    ),
    "content that is a Gradio 4 file tuple": (
        {"content": ("/tmp/a.png", "cat")},
        assistant(LocalFile(Path("/tmp/a.png"), is_named=True)),
    ),
    "content that is a File": ({"content": File(b"x", name="x.bin")}, assistant(LocalFile(b"x", "x.bin"))),
    "content with a stored file": (
        {"content": [{"type": "file", "file_id": "f_1", "name": "a", "media_type": "image/png", "size": 3}]},
        assistant(FilePart("f_1", "a", "image/png", 3)),
    ),
    "content with a stored file by id alone": (
        {"content": [{"type": "file", "file_id": "f_1"}]},
        assistant(FilePart("f_1", "", "application/octet-stream", 0)),
    ),
    "content with own parts": (
        {
            "content": [
                {"type": "reasoning", "text": "hm"},
                {"type": "data", "data": {"a": 1}, "name": "n"},
                {"type": "source", "url": "https://a.example", "title": "A"},
                {"type": "tool_call", "tool_call_id": "c", "name": "f", "arguments": "{}", "where": "server"},
                {"type": "tool_result", "tool_call_id": "c", "output": [1], "is_error": True},
            ]
        },
        assistant(
            ReasoningPart("hm"),
            DataPart({"a": 1}, "n"),
            SourcePart("https://a.example", "A"),
            ToolCallPart("c", "f", "{}", "server"),
            ToolResultPart("c", [1], is_error=True),
        ),
    ),
    "content with OpenAI parts": (
        {
            "content": [
                {"type": "output_text", "text": "a"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,eA=="}},
                {"type": "image_url", "image_url": {"url": "https://a.example/b.png"}},
                {"type": "input_audio", "input_audio": {"data": "eA==", "format": "wav"}},
                {"type": "file", "file": {"file_data": "data:text/plain;base64,eA==", "filename": "x.txt"}},
            ]
        },
        assistant(
            TextPart("a"),
            LocalFile(b"x", None, "image/png"),
            SourcePart("https://a.example/b.png"),
            LocalFile(b"x", None, "audio/wav"),
            LocalFile(b"x", "x.txt", "text/plain"),
        ),
    ),
    "content with Anthropic and LangChain images": (
        {
            "content": [
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "eA=="}},
                {"type": "image", "base64": "eA==", "mime_type": "image/gif"},
                {"type": "image", "url": "https://a.example/b.png"},
            ]
        },
        assistant(
            LocalFile(b"x", None, "image/png"),
            LocalFile(b"x", None, "image/gif"),
            SourcePart("https://a.example/b.png"),
        ),
    ),
    "content with a Gradio component": (
        {"content": [{"type": "component", "component": "plot", "value": {"type": "matplotlib"}}]},
        assistant(DataPart({"type": "matplotlib"}, "plot")),
    ),
    "content with data": ({"content": [{"score": 1}, 2]}, assistant(DataPart({"score": 1}), DataPart(2))),
    "message with OpenAI tool calls": (
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}],
        },
        assistant(ToolCallPart("c", "f", '{"a":1}', "client")),
    ),
    "message of a tool": (
        {"role": "tool", "tool_call_id": "c", "content": "21"},
        ParsedMessage("tool", (ToolResultPart("c", "21"),)),
    ),
    "message of a tool with more than text": (
        {"role": "tool", "tool_call_id": "c", "content": [{"type": "data", "data": 1}]},
        ParsedMessage("tool", (ToolResultPart("c", [{"type": "data", "data": 1}]),)),
    ),
    "content with a part that is a model": (
        {"content": [TextBlock(text="a")]},
        said("a"),
    ),
    "Path": (Path("/tmp/a.png"), assistant(LocalFile(Path("/tmp/a.png")))),
    "File with a path": (
        File("/tmp/a.png", name="b.png", media_type="image/png"),
        assistant(LocalFile(Path("/tmp/a.png"), "b.png", "image/png")),
    ),
    "path dict": (
        {"path": "/tmp/a.png", "orig_name": "b.png", "mime_type": "image/png", "alt_text": "cat"},
        assistant(LocalFile(Path("/tmp/a.png"), "b.png", "image/png", is_named=True)),
    ),
    "path dict with an address": (
        {"path": "https://a.example/b.png", "url": None},
        assistant(SourcePart("https://a.example/b.png")),
    ),
    "pydantic model": (
        Weather(city="Oslo", degrees=2),
        assistant(DataPart({"city": "Oslo", "degrees": 2.0}, "Weather")),
    ),
    "dataclass with a model in it": (
        Report("today", Weather(city="Oslo", degrees=2)),
        assistant(DataPart({"title": "today", "weather": {"city": "Oslo", "degrees": 2.0}}, "Report")),
    ),
    "dict": (
        {"path": "/a", "cost": 3, "m": Weather(city="Oslo", degrees=2)},
        assistant(DataPart({"path": "/a", "cost": 3, "m": {"city": "Oslo", "degrees": 2.0}})),
    ),
    "int": (3, assistant(DataPart(3))),
    "bool": (False, assistant(DataPart(False))),
    "float": (float("inf"), assistant(DataPart(None))),
    "tuple of a path": (("/tmp/a.png",), assistant(LocalFile(Path("/tmp/a.png"), is_named=True))),
    "list of numbers": ([1, {"a": 2}], assistant(DataPart([1, {"a": 2}]))),
}


@pytest.mark.parametrize(("value", "message"), MESSAGES.values(), ids=MESSAGES.keys())
def test_value_in_snapshot_mode_is_the_whole_answer(value: Any, message: ParsedMessage):
    assert normalize(value) == snapshot(message)


@pytest.mark.parametrize(("value", "message"), MESSAGES.values(), ids=MESSAGES.keys())
def test_value_in_delta_mode_is_appended(value: Any, message: ParsedMessage):
    (output,) = normalize(value, DELTAS)
    match output:
        case TextAppended(text=text):
            assert (isinstance(value, str), message) == (True, said(text))
        case MessageAppended():
            assert output.message == message
        case PartAppended(part=part):
            assert message == assistant(part)
        case _:
            pytest.fail(f"{output} appends nothing")


def test_value_that_holds_itself_is_cut_off():
    endless: dict[str, Any] = {}
    endless["self"] = endless
    answer_of(normalize(endless))


def test_text_is_never_an_instance_of_a_subclass():
    (output,) = normalize(Word.YES, DELTAS)
    assert type(output.text) is str


@pytest.mark.parametrize("view", [SNAPSHOTS, DELTAS])
def test_text_marked_as_appended_is_appended_in_either_mode(view: AnswerView):
    assert normalize(TextAppended("a"), view) == [TextAppended("a")]


def test_none_says_nothing():
    assert normalize(None) == []


LISTS: dict[str, tuple[list[Any], tuple[ParsedMessage, ...]]] = {
    "empty": ([], ()),
    "texts": (["a", "b"], (said("a"), said("b"))),
    "files": ([Path("/a"), File(b"x")], (assistant(LocalFile(Path("/a"))), assistant(LocalFile(b"x")))),
    "text and message": (
        ["a", ChatMessage("b", role="system")],
        (said("a"), ParsedMessage("system", (TextPart("b"),))),
    ),
    "thought and answer": (
        [ChatMessage("looking", metadata=THOUGHT), {"content": "found"}],
        (assistant(TextPart("looking"), metadata=THOUGHT), said("found")),
    ),
    "roles as given": (
        [{"role": "system", "content": "s"}, "a"],
        (ParsedMessage("system", (TextPart("s"),)), said("a")),
    ),
    "a question and its answer": (
        [{"role": "user", "content": "not what was asked"}, {"role": "assistant", "content": "a"}],
        (said("a"),),
    ),
}


@pytest.mark.parametrize(("value", "messages"), LISTS.values(), ids=LISTS.keys())
def test_list_of_messages_is_several_messages(value: list[Any], messages: tuple[ParsedMessage, ...]):
    assert normalize(value) == snapshot(*messages)
    assert normalize(value, DELTAS) == [MessageAppended(message) for message in messages]


# --- whole histories ---------------------------------------------------------------------------------------------

MESSAGES_HISTORY: list[Any] = [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}]
TUPLES_HISTORY: list[Any] = [["one", "two"]]
ASKED = {"role": "user", "content": "hi"}
ANSWERED = {"role": "assistant", "content": "hello"}


def view_of(history: list[Any], message: Any = "hi") -> AnswerView:
    pairs = any(isinstance(entry, list) for entry in history)
    return AnswerView(tuple(history), message, "snapshots", "tuples" if pairs else "messages")


HISTORIES: dict[str, tuple[list[Any], list[Any], tuple[ParsedMessage, ...]]] = {
    "messages, with the question": (MESSAGES_HISTORY, [*MESSAGES_HISTORY, ASKED, ANSWERED], (said("hello"),)),
    "messages, without it": (MESSAGES_HISTORY, [*MESSAGES_HISTORY, ANSWERED], (said("hello"),)),
    "messages, a ChatMessage at the end": (
        MESSAGES_HISTORY,
        [*MESSAGES_HISTORY, ChatMessage("hello")],
        (said("hello"),),
    ),
    "messages, text at the end": (MESSAGES_HISTORY, [*MESSAGES_HISTORY, "hello"], (said("hello"),)),
    "messages, nothing added": (MESSAGES_HISTORY, [*MESSAGES_HISTORY], ()),
    "messages, two added": (MESSAGES_HISTORY, [*MESSAGES_HISTORY, ASKED, ANSWERED, ANSWERED], (said("hello"),) * 2),
    "first turn, messages": ([], [ASKED, ANSWERED], (said("hello"),)),
    "first turn, the question alone": ([], [ASKED], ()),
    "first turn, the question repeated by the assistant": ([], [{"role": "assistant", "content": "hi"}], (said("hi"),)),
    "pairs": (TUPLES_HISTORY, [*TUPLES_HISTORY, ["hi", "hello"]], (said("hello"),)),
    "pairs, as tuples": (TUPLES_HISTORY, [*TUPLES_HISTORY, ("hi", "hello")], (said("hello"),)),
    "pairs, without the question": (TUPLES_HISTORY, [*TUPLES_HISTORY, [None, "hello"]], (said("hello"),)),
    "pairs, not answered yet": (TUPLES_HISTORY, [*TUPLES_HISTORY, ["hi", None]], ()),
    "pairs, answer of nothing yet": (TUPLES_HISTORY, [*TUPLES_HISTORY, ["hi", ""]], (said(""),)),
    "pairs, a file": (
        TUPLES_HISTORY,
        [*TUPLES_HISTORY, ["hi", ("/a.png",)]],
        (assistant(LocalFile(Path("/a.png"), is_named=True)),),
    ),
    "pairs, several": (TUPLES_HISTORY, [*TUPLES_HISTORY, ["hi", "a"], [None, "b"]], (said("a"), said("b"))),
    "pairs, another user message": (
        TUPLES_HISTORY,
        [*TUPLES_HISTORY, ["hi", "a"], ["and?", "b"]],
        (said("b"),),
    ),
    "first turn, pairs": ([], [["hi", "hello"]], (said("hello"),)),
}


@pytest.mark.parametrize(("history", "returned", "messages"), HISTORIES.values(), ids=HISTORIES.keys())
def test_only_what_follows_the_history_given_is_the_answer(
    history: list[Any], returned: list[Any], messages: tuple[ParsedMessage, ...]
):
    assert list(AnswerNormalizer().normalize(returned, view_of(history))) == snapshot(*messages)


def test_answer_that_grows_in_place_in_a_pair_is_followed():
    normalizer, history = AnswerNormalizer(), [*TUPLES_HISTORY, ["hi", ""]]
    seen: list[Any] = []
    for character in "abc":
        history[-1][1] += character
        seen += normalizer.normalize(history, view_of(TUPLES_HISTORY))
    assert seen == snapshot(said("a")) + snapshot(said("ab")) + snapshot(said("abc"))


@pytest.mark.parametrize(
    ("history", "asked"),
    [
        ([], [{"role": "user", "content": {"path": "/a.png"}}, ASKED]),
        ([], [{"role": "user", "content": ["hi", {"path": "/a.png"}]}]),
        (MESSAGES_HISTORY, [{"role": "user", "content": ("/a.png",)}, ASKED]),
    ],
)
def test_multimodal_question_is_recognized_with_its_files(history: list[Any], asked: list[Any]):
    view = view_of(history, {"text": "hi", "files": ["/a.png"]})
    assert normalize([*history, *asked, ANSWERED], view) == snapshot(said("hello"))


@pytest.mark.parametrize("history", [[], TUPLES_HISTORY])
def test_multimodal_question_is_recognized_in_pairs(history: list[Any]):
    view = view_of(history, {"text": "hi", "files": ["/a.png"]})
    assert normalize([*history, [("/a.png",), None], ["hi", "hello"]], view) == snapshot(said("hello"))


@pytest.mark.parametrize("history", [MESSAGES_HISTORY, TUPLES_HISTORY])
@pytest.mark.parametrize("length", [1, 2, 3])
def test_list_that_starts_otherwise_than_the_history_is_an_answer_of_its_own(history: list[Any], length: int):
    assert normalize([ANSWERED] * length, view_of(history)) == snapshot(*[said("hello")] * length)


def test_list_of_pairs_that_is_no_history_is_data():
    assert normalize([["a", "b"]], view_of([])) == snapshot(assistant(DataPart([["a", "b"]])))


# --- what is no answer -------------------------------------------------------------------------------------------

BROKEN: dict[str, tuple[Any, str]] = {
    "unknown role": ({"role": "bot", "content": "a"}, r"'bot'.*assistant, developer, system, tool, user"),
    "role that is no text": ({"role": 3, "content": "a"}, r"unknown role 3"),
    "unhashable role": ({"role": ["user"], "content": "a"}, r"unknown role \['user'\]"),
    "object with an unknown role": (ChatMessage("a", role="ai"), r"'ai'"),
    "unknown role in a list": ([ChatMessage("a"), ChatMessage("b", role="ai")], r"'ai'"),
    "metadata that is no dict": ({"content": "a", "metadata": "x"}, r"metadata.*'x'.*dict"),
    "options that are no list": ({"content": "a", "options": {"value": 1}}, r"options.*list of dicts"),
    "option without value": ({"content": "a", "options": [{"text": 1}]}, r"option.*'text'.*\"value\""),
    "text part without text": ({"content": [{"type": "text"}]}, r"'text' is broken.*KeyError"),
    "text part of a number": ({"content": [{"type": "text", "text": 3}]}, r"3 is not text"),
    "tool call without id": ({"content": "", "tool_calls": [{"function": {"name": "f"}}]}, r"no id.*function"),
    "tool call that runs nowhere": (
        {"content": [{"type": "tool_call", "tool_call_id": "c", "name": "f", "arguments": "", "where": "moon"}]},
        r"\"server\" or \"client\"",
    ),
    "image that is not base64": ({"content": [{"type": "image", "base64": "ä"}]}, r"'image' is broken"),
    "data URL that is not base64": ({"content": [{"type": "image_url", "image_url": "data:text/plain,x"}]}, r"base64"),
    "path that is no text": ({"path": 3}, r"path 3"),
    "content of an unknown kind": ({"content": object()}, r"type object"),
    "item of an unknown kind": ([ChatMessage("a"), 3], r"item 1 .* type int;"),
    "model without JSON form": (Opaque(secret=object()), r"type Opaque cannot be part of an answer"),
    "bytes": (b"abc", r"type bytes.*b'abc'"),
    "an object": (object(), r"type object"),
    "a tuple": ((1, "a"), r"a tuple of 2 values; declare.*additional_outputs"),
    "a class": (Weather, r"type ModelMetaclass"),
}


@pytest.mark.parametrize(("value", "words"), BROKEN.values(), ids=BROKEN.keys())
def test_what_is_no_answer_is_refused_by_name(value: Any, words: str):
    with pytest.raises(AnswerInvalid, match=words):
        normalize(value)


def test_list_that_is_the_history_but_ends_in_something_else_is_refused():
    with pytest.raises(AnswerInvalid, match=r"item 0 of a list of messages is of type int"):
        normalize([*TUPLES_HISTORY, 3], view_of(TUPLES_HISTORY))


# --- copies ------------------------------------------------------------------------------------------------------


def test_message_changed_after_its_yield_does_not_change_what_was_said():
    message = ChatMessage(["a", {"n": [1]}], metadata={"status": "pending", "log": ["x"]}, options=[{"value": [1]}])
    outputs = normalize(message)
    before = repr(outputs)
    message.metadata["status"] = "done"
    message.metadata["log"].append("y")
    message.options[0]["value"].append(2)
    message.content[1]["n"].append(2)
    message.content.append("b")
    assert repr(outputs) == before


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(value=json_values)
def test_any_json_value_is_an_answer_or_refused_and_never_another_error(value: Any):
    try:
        outputs = normalize(value)
    except AnswerInvalid:
        return
    if not any(isinstance(part, LocalFile) for output in outputs for m in output.messages for part in m.content):
        answer_of(outputs)


# --- the dispatcher ----------------------------------------------------------------------------------------------


def test_values_of_one_type_are_told_apart_where_their_shape_differs():
    normalizer = AnswerNormalizer()
    values: list[Any] = [{"content": "a"}, {"score": 1}, {"path": "/a"}, SimpleNamespace(role="user", content="b")]
    kinds = [normalizer.normalize(value, SNAPSHOTS)[0].messages[0].content[0] for value in values]
    assert kinds == [TextPart("a"), DataPart({"score": 1}), LocalFile(Path("/a"), is_named=True), TextPart("b")]


def test_family_is_asked_once_per_type_and_made_once_per_turn():
    counting = _counting_family(lambda value: isinstance(value, int))
    normalizer = AnswerNormalizer((counting,))
    for number in range(5):
        normalizer.normalize(number, SNAPSHOTS)
    assert (counting.asked, counting.made) == (1, 1)


def test_unknown_type_is_refused_each_time():
    normalizer = AnswerNormalizer()
    for _ in range(2):
        with pytest.raises(AnswerInvalid):
            normalizer.normalize(object(), SNAPSHOTS)


def _counting_family(recognize: Callable[[object], bool]) -> Any:
    class Counting:
        asked = made = 0

        def __init__(self) -> None:
            Counting.made += 1

        @staticmethod
        def accepts(value: object) -> bool:
            Counting.asked += 1
            return recognize(value)

        def normalize(self, value: Any, view: AnswerView) -> Any:
            return ()

    return Counting


def test_registry_names_each_family_once():
    assert len(set(OUTPUT_NORMALIZERS)) == len(OUTPUT_NORMALIZERS) == 10
