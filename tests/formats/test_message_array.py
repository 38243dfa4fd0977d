"""Conversations sent whole: what is the message, what the history, which files came along."""

from typing import Any

import pytest

from chatserve.contracts.formats import ParsedMessage
from chatserve.contracts.wire import ChatProfile, KeepFile
from chatserve.core.errors import InputsInvalid
from chatserve.core.types import DraftPart, FilePart, LocalFile, TextPart, ToolCallPart, ToolResultPart
from chatserve.formats.shared.message_array import keep_files, read_base64, read_data_url, split_turn

PICTURE = LocalFile(b"png", "image.png", "image/png")
STORED = FilePart("f_1", "image.png", "image/png", 3)


def said(role: str, *parts: DraftPart | str) -> ParsedMessage:
    return ParsedMessage(role, tuple(TextPart(part) if isinstance(part, str) else part for part in parts))


def profile(*, takes_files: bool) -> ChatProfile:
    return ChatProfile("echo", "Echo", "", {}, (), takes_files)


def test_last_user_message_is_the_message_and_the_rest_is_history() -> None:
    messages = [said("system", "be kind"), said("user", "a"), said("assistant", "b"), said("user", "c", STORED)]
    turn = split_turn(messages)
    assert (turn.text, turn.files) == ("c", (STORED,))
    assert turn.history == tuple(messages[:3])


def test_instructions_behind_the_message_join_the_history() -> None:
    messages = [said("user", "a"), said("developer", "be brief")]
    turn = split_turn(messages)
    assert turn.text == "a"
    assert turn.history == (messages[1],)


def test_results_at_the_end_are_what_the_turn_is_about() -> None:
    call = said("assistant", ToolCallPart("c1", "f", "{}"), ToolCallPart("c2", "g", "{}"))
    results = [said("tool", ToolResultPart("c1", "1")), said("tool", ToolResultPart("c2", "2"))]
    turn = split_turn([said("user", "a"), call, *results])
    assert turn.tool_results == (ToolResultPart("c1", "1"), ToolResultPart("c2", "2"))
    assert turn.history == (said("user", "a"), call)
    assert turn.text == ""


BRIEF = said("system", "be brief")
CALL = said("assistant", ToolCallPart("c1", "f", "{}"))
RESULT = said("tool", ToolResultPart("c1", "1"))


@pytest.mark.parametrize(
    ("messages", "text", "prefill", "history"),
    [
        ([], "", None, ()),
        ([BRIEF], "", None, (BRIEF,)),
        ([said("user", "a"), said("assistant", "b")], "a", "b", ()),
        ([said("user", "a"), said("assistant", "b"), said("user", "c")], "c", None, None),
        ([BRIEF, said("user", "a"), said("assistant", "b "), BRIEF], "a", "b ", (BRIEF, BRIEF)),
        ([said("user", "a"), said("assistant", "b"), said("assistant", "c")], "a", "b\n\nc", ()),
        ([said("user", "a"), said("assistant", "")], "a", None, ()),
        ([said("user", "a"), CALL], "a", None, ()),
        ([said("user", "a"), CALL, RESULT, said("assistant", "It")], "", "It", (said("user", "a"), CALL)),
        ([BRIEF, said("assistant", "Hello")], "", "Hello", (BRIEF,)),
    ],
)
def test_words_after_the_message_to_answer_are_its_prefill(
    messages: list[ParsedMessage], text: str, prefill: str | None, history: tuple[ParsedMessage, ...] | None
) -> None:
    turn = split_turn(messages)
    assert (turn.text, turn.prefill) == (text, prefill)
    assert turn.history == (tuple(messages[:-1]) if history is None else history)


B64 = "aGVsbG8/Pj4+"


@pytest.mark.parametrize(
    "url",
    [
        f"data:text/plain;base64,{B64}",
        f"DATA:text/plain;BASE64,{B64}",
        "data:text/plain;base64,aGVsbG8_Pj4-",
        "data:text/plain;base64,aGVs\r\nbG8/\nPj4+\n",
        "data:text/plain;base64,aGVsbG8%2FPj4%2B",
        "data:text/plain;charset=utf-8; base64,aGVsbG8/Pj4+",
        "data:text/plain,hello%3F%3E%3E%3E",
    ],
)
def test_data_url_is_read_in_each_of_its_spellings(url: str) -> None:
    assert read_data_url(url, "url").source == b"hello?>>>"


@pytest.mark.parametrize(("payload", "content"), [("aGk", b"hi"), ("aGk=", b"hi"), (" aG\nk ", b"hi"), ("", b"")])
def test_base64_is_read_without_padding_and_with_line_ends(payload: str, content: bytes) -> None:
    assert read_base64(payload, "text/plain", "data").source == content


@pytest.mark.parametrize("payload", ["a", "a?bc", "aGk=a", None, 5, "ü"])
def test_what_is_no_base64_is_refused(payload: Any) -> None:
    with pytest.raises(InputsInvalid, match="data: the base64 cannot be read"):
        read_base64(payload, "text/plain", "data")


def test_files_inside_messages_are_stored_and_named_by_id() -> None:
    steps = keep_files([said("user", "look", PICTURE)], profile(takes_files=True))
    assert next(steps) == KeepFile(b"png", "image.png", "image/png")
    with pytest.raises(StopIteration) as end:
        steps.send(STORED)
    assert end.value.value == (said("user", "look", STORED),)


def test_chat_without_files_refuses_one_in_the_last_message() -> None:
    with pytest.raises(InputsInvalid, match="takes no files"):
        next(keep_files([said("user", "look", PICTURE)], profile(takes_files=False)))


def test_chat_without_files_does_not_see_those_of_the_history() -> None:
    with pytest.raises(StopIteration) as end:
        next(keep_files([said("user", "look", PICTURE), said("user", "and?")], profile(takes_files=False)))
    assert end.value.value == (said("user", "look"), said("user", "and?"))


@pytest.mark.parametrize(
    ("url", "content", "media_type"),
    [
        ("data:image/png;base64,iVBORw==", b"\x89PNG", "image/png"),
        ("data:,a%20b", b"a b", "text/plain"),
        ("data:text/html;charset=utf-8,<p>", b"<p>", "text/html"),
    ],
)
def test_data_urls_are_read(url: str, content: bytes, media_type: str) -> None:
    file = read_data_url(url, "messages[0]")
    assert (file.source, file.media_type) == (content, media_type)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://example.org/a.png", "addresses are not fetched"),
        ("file:///etc/passwd", "addresses are not fetched"),
        (None, "is no data: URL"),
        ("data:image/png;base64", "has no comma"),
        ("data:image/png;base64,%%%", "base64 cannot be read"),
    ],
)
def test_other_addresses_and_broken_ones_are_refused(url: object, why: str) -> None:
    with pytest.raises(InputsInvalid, match=why):
        read_data_url(url, "messages[0].content[1]")
