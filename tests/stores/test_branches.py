"""What a stored history and one that a client sends have in common."""

from dataclasses import fields, replace

import pytest

from chatserve.core.types import (
    DataPart,
    Feedback,
    FilePart,
    Message,
    Part,
    ReasoningPart,
    SourcePart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from chatserve.stores.branches import common_start, common_talk, linked

FILE = FilePart("f_1", "a.png", "image/png", 3)


def said(role: str, *parts: Part | str, title: str | None = None) -> Message:
    content = tuple(TextPart(part) if isinstance(part, str) else part for part in parts)
    return Message("m", role, content, 0.0, metadata=None if title is None else {"title": title})  # type: ignore[arg-type]


ASKED = said("user", "hi")
GO_ON = said("user", "go on")
CALL = ToolCallPart("c1", "search", '{"q": 1}')


@pytest.mark.parametrize(
    ("stored", "sent"),
    [
        pytest.param([said("assistant", "hello")], [said("assistant", "hello")], id="the same"),
        pytest.param(
            [said("assistant", ReasoningPart("hm"), "hello", SourcePart("https://a"), DataPart(1))],
            [said("assistant", "hello")],
            id="without reasoning, sources and data",
        ),
        pytest.param(
            [said("assistant", "let me see", title="Thinking"), said("assistant", "hello"), said("assistant", "you")],
            [said("assistant", "hello\n\nyou")],
            id="several messages as one, thoughts left out",
        ),
        pytest.param(
            [said("assistant", "hello "), said("assistant", "you")],
            [said("assistant", "hello", "you")],
            id="blanks of an answer",
        ),
        pytest.param(
            [said("assistant", CALL), said("tool", ToolResultPart("c1", {"a": 1}))],
            [
                said("assistant", ToolCallPart("c1", "search", '{"q":1}')),
                said("tool", ToolResultPart("c1", '{"a": 1}')),
            ],
            id="arguments and results written another way",
        ),
        pytest.param(
            [said("assistant", ToolCallPart("c1", "f", "{}", "server"), ToolResultPart("c1", 1), "done")],
            [said("assistant", "done")],
            id="without tools of the server",
        ),
        pytest.param(
            [said("assistant", CALL, ToolResultPart("c1", 1), "done")],
            [said("assistant", "done")],
            id="without calls the function answered itself",
        ),
    ],
)
def test_answer_that_comes_back_as_clients_send_it_is_no_change(stored: list[Message], sent: list[Message]) -> None:
    ours, theirs = [ASKED, *stored, GO_ON], [ASKED, *sent, GO_ON]
    assert common_talk(ours, theirs) == (len(ours), len(theirs))


@pytest.mark.parametrize(
    ("stored", "sent"),
    [
        ([said("assistant", "hello")], [said("assistant", "hullo")]),
        ([said("assistant", CALL)], [said("assistant", ToolCallPart("c2", "search", '{"q": 1}'))]),
        ([said("assistant", "a"), said("assistant", "b")], [said("assistant", "a")]),
        ([said("user", "x", FILE)], [said("user", "x")]),
        ([said("user", "a  b")], [said("user", "a b")]),
        ([said("tool", ToolResultPart("c1", 1))], [said("tool", ToolResultPart("c2", 1))]),
        ([said("system", "be kind")], [said("developer", "be kind")]),
    ],
)
def test_what_differs_ends_the_common_start_before_it(stored: list[Message], sent: list[Message]) -> None:
    assert common_talk([ASKED, *stored, GO_ON], [ASKED, *sent, GO_ON]) == (1, 1)


def test_shorter_history_is_in_common_as_a_whole() -> None:
    assert common_talk([ASKED, said("assistant", "a"), GO_ON], [ASKED]) == (1, 1)
    assert common_talk([], [ASKED]) == (0, 0)


def test_history_that_replaces_another_is_compared_exactly() -> None:
    stored = [ASKED, said("assistant", ReasoningPart("hm"), "hello")]
    assert common_start(stored, [ASKED, said("assistant", "hello")]) == (1, 1)
    assert common_start(stored, stored) == (2, 2)


def test_linked_message_differs_in_its_turn_and_its_parent_only() -> None:
    message = Message(
        "m_1",
        "assistant",
        (TextPart("hi"),),
        7.0,
        "t_0",
        "m_0",
        {"title": "x"},
        ({"value": "yes"},),
        "stopped",
        Feedback("like"),
    )
    assert all(getattr(message, field.name) is not None for field in fields(Message))
    assert linked(message, "t_1", "m_2") == replace(message, turn_id="t_1", parent_id="m_2")
    assert linked(message, "t_0", "m_0") is message
