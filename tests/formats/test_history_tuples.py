"""History as pairs."""

from typing import Any

import pytest

from chatserve.contracts.formats import ParsedMessage
from chatserve.core.errors import InputsInvalid
from chatserve.core.types import DataPart, FilePart, Message, ReasoningPart, TextPart
from chatserve.formats.history import HISTORY_FORMATS
from tests.formats.conversations import CALL, IMAGE, MULTIMODAL, RESULT, TEXT_ONLY, assistant, message, user

FORMAT = HISTORY_FORMATS["tuples"]
THOUGHT = {"title": "Search"}

RENDERED: dict[str, tuple[list[Message], list[Any]]] = {
    "nothing": ([], []),
    "a turn": ([user("hi"), assistant("hello")], [["hi", "hello"]]),
    "no answer": ([user("a"), user("b"), assistant("c")], [["a", None], ["b", "c"]]),
    "two replies": ([user("a"), assistant("b"), assistant("c")], [["a", "b"], [None, "c"]]),
    "greeting": ([assistant("welcome"), user("a"), assistant("b")], [[None, "welcome"], ["a", "b"]]),
    "thoughts": ([user("a"), assistant("hm", metadata=THOUGHT), assistant("b")], [["a", "b"]]),
    "metadata without title": ([user("a"), assistant("b", metadata={"own": 1})], [["a", "b"]]),
    "system": ([message("system", "be kind", turn_id=None), user("a"), assistant("b")], [["a", "b"]]),
    "reasoning": ([user("a"), assistant(ReasoningPart("hm"), "b")], [["a", "b"]]),
    "empty answer": ([user("a"), assistant("")], [["a", ""]]),
    "data": ([user("a"), assistant(DataPart([1]))], [["a", "[1]"]]),
    "tools inside a turn": (
        [user("a"), assistant(CALL), message("tool", RESULT), assistant("b")],
        [["a", "b"]],
    ),
    "tools in the client": (
        [user("a"), assistant(CALL), message("tool", RESULT, turn_id="t_2"), assistant("b", turn_id="t_2")],
        [["a", None], [None, "b"]],
    ),
    "a retried answer": ([user("a"), assistant("b", turn_id="t_2")], [["a", "b"]]),
}


@pytest.mark.parametrize(("messages", "pairs"), RENDERED.values(), ids=RENDERED.keys())
def test_replies_join_the_pair_their_message_opened(messages: list[Message], pairs: list[Any]):
    assert FORMAT.render(messages, TEXT_ONLY) == pairs
    assert FORMAT.render(messages, MULTIMODAL) == pairs


FILES: dict[str, tuple[list[Message], list[Any], list[Any]]] = {
    "text and file": (
        [user("look", IMAGE), assistant("a cat")],
        [["look", "a cat"]],
        [[("/files/f_1",), None], ["look", "a cat"]],
    ),
    "files alone": (
        [user(IMAGE, IMAGE), assistant("a cat")],
        [["cat.png\ncat.png", "a cat"]],
        [[("/files/f_1",), None], [("/files/f_1",), None], [None, "a cat"]],
    ),
    "answer with a file": (
        [user("draw"), assistant("here", IMAGE)],
        [["draw", "here"]],
        [["draw", "here"], [None, ("/files/f_1",)]],
    ),
    "answer that is a file": (
        [user("draw"), assistant(IMAGE)],
        [["draw", "cat.png"]],
        [["draw", ("/files/f_1",)]],
    ),
}


@pytest.mark.parametrize(("messages", "plain", "multimodal"), FILES.values(), ids=FILES.keys())
def test_files_are_names_or_tuples_as_the_chat_wants(messages: list[Message], plain: list[Any], multimodal: list[Any]):
    assert FORMAT.render(messages, TEXT_ONLY) == plain
    assert FORMAT.render(messages, MULTIMODAL) == multimodal


def test_pairs_from_outside_are_read():
    assert FORMAT.parse([["hi", "hello"], [None, "more"], ("and", None)]) == (
        ParsedMessage("user", (TextPart("hi"),)),
        ParsedMessage("assistant", (TextPart("hello"),)),
        ParsedMessage("assistant", (TextPart("more"),)),
        ParsedMessage("user", (TextPart("and"),)),
    )


def test_stored_file_in_a_pair_is_read():
    (parsed,) = FORMAT.parse([[{"type": "file", "file_id": "f_1"}, None]])
    assert parsed.content == (FilePart("f_1", "", "application/octet-stream", 0),)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("hi", r"entry 1: it is 'hi'; make it a list \[user, assistant\]"),
        (["hi"], r"entry 1: it is \['hi'\]"),
        ({"role": "user", "content": "a"}, r"entry 1: it is"),
        ([3, None], r"entry 1: cannot read the content 3"),
        ([("/etc/passwd",), None], r"entry 1: cannot read.*/etc/passwd"),
        ([{"path": "/etc/passwd"}, None], r"entry 1: cannot read.*/etc/passwd"),
    ],
)
def test_entry_that_cannot_be_trusted_or_read_is_refused_by_number(entry: Any, words: str):
    with pytest.raises(InputsInvalid, match=words):
        FORMAT.parse([["fine", None], entry])


def test_list_in_a_pair_is_words_and_never_a_path():
    (parsed,) = FORMAT.parse([[["/etc/passwd"], None]])
    assert parsed.content == (TextPart("/etc/passwd"),)


def test_history_that_is_no_list_is_refused():
    with pytest.raises(InputsInvalid, match=r"history is \{\}"):
        FORMAT.parse({})
