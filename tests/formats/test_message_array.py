"""Conversations sent whole: what is the message, what the history, which files came along."""

import pytest

from chatserve.contracts.formats import ParsedMessage
from chatserve.contracts.wire import ChatProfile, KeepFile
from chatserve.core.errors import InputsInvalid
from chatserve.core.types import DraftPart, FilePart, LocalFile, TextPart, ToolCallPart, ToolResultPart
from chatserve.formats.shared.message_array import keep_files, read_data_url, split_turn

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


@pytest.mark.parametrize("messages", [[], [said("system", "x")], [said("user", "a"), said("assistant", "b")]])
def test_conversation_that_asks_for_nothing_is_refused(messages: list[ParsedMessage]) -> None:
    with pytest.raises(InputsInvalid, match="messages: the last one must be the user's"):
        split_turn(messages)


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
