"""Tuples `(answer, more…)`, and what generators return."""

from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chatserve import ChatContext, ChatMessage, ChatServer, File
from chatserve.testing import ChatClient, ChatTurn

Pair = namedtuple("Pair", "answer prompt")
Three = namedtuple("Three", "answer one two")


def ask(function: Callable[..., Any], *messages: str, **options: Any) -> list[ChatTurn]:
    app = ChatServer()
    app.chat(**options)(function)
    with ChatClient(app) as client:
        session = client.session()
        return [session.send(message) for message in messages or ("x",)]


def data(name: str, value: Any) -> dict[str, Any]:
    return {"type": "data", "data": value, "name": name}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def parts_of(turn: ChatTurn) -> list[Any]:
    """Return the parts of the last message, without their ids."""
    content = turn.messages[-1]["content"]
    if isinstance(content, str):
        return [text(content)]
    return [{key: value for key, value in part.items() if key != "part_id"} for part in content]


DECLARED: dict[str, tuple[Any, list[Any]]] = {
    "text": (("hi", 1, {"a": 2}), [data("one", 1), data("two", {"a": 2}), text("hi")]),
    "None says nothing": (("hi", None, "x"), [data("two", "x"), text("hi")]),
    "nothing more": (("hi", None, None), [text("hi")]),
    "no answer": ((None, 1, 2), [data("one", 1), data("two", 2)]),
    "message": ((ChatMessage("hi"), [1], 2), [data("one", [1]), data("two", 2), text("hi")]),
    "several messages": ((["a", "b"], 1, 2), [data("one", 1), data("two", 2), text("b")]),
    "empty list": (([], 1, 2), [data("one", 1), data("two", 2)]),
    "one answer alone": ("hi", [text("hi")]),
    "named tuple": (Three("hi", 1, 2), [data("one", 1), data("two", 2), text("hi")]),
}


@pytest.mark.parametrize(("value", "parts"), DECLARED.values(), ids=DECLARED.keys())
def test_declared_outputs_are_parts_of_their_names(value: Any, parts: list[Any]):
    (turn,) = ask(lambda message, history: value, name="give", additional_outputs=("one", "two"))
    assert (turn.status, parts_of(turn)) == ("completed", parts)


def test_file_among_the_outputs_is_a_file():
    value = ("hi", File(b"x", name="a.txt"))
    (turn,) = ask(lambda message, history: value, name="give", additional_outputs=("file",))
    assert [part["type"] for part in parts_of(turn)] == ["file", "text"]


UNDECLARED: dict[str, tuple[Any, tuple[str, ...]]] = {
    "undeclared": (("hi", "private"), ()),
    "named tuple": (Pair("hi", "private"), ()),
    "data": ((1, 2), ()),
    "empty": ((), ()),
    "one text that is no path": (("hi",), ()),
    "text and its alt": (("hi", "private"), ()),
    "too short": (("hi", "private"), ("one", "two")),
    "too long": (("hi", "private", 1), ("one",)),
    "named tuple of another length": (Pair("hi", "private"), ("one", "two")),
    "tuple in a tuple": ((("hi", "private"), 1), ("one",)),
    "object": (("hi", object()), ("one",)),
    "path": (("hi", {"p": Path("private")}), ("one",)),
    "state that is no dict": (("hi", 5), ("state",)),
}


@pytest.mark.parametrize(("value", "names"), UNDECLARED.values(), ids=UNDECLARED.keys())
@pytest.mark.parametrize("yields", ["snapshots", "deltas"])
def test_any_other_tuple_is_refused(value: Any, names: tuple[str, ...], yields: Any):
    (turn,) = ask(lambda message, history: value, name="give", additional_outputs=names, yields=yields)
    assert turn.error is not None
    assert (turn.status, turn.error["code"]) == ("failed", "answer_invalid")
    assert "private" not in str([event.value for event in turn.events])


def test_text_beside_outputs_grows_by_deltas():
    def predict(message, history):
        for end in (1, 2, 3):
            yield message[:end], {"n": 1}

    (turn,) = ask(predict, "abc", additional_outputs=("more",))
    assert parts_of(turn) == [data("more", {"n": 1}), text("abc")]
    assert {event.name for event in turn.events} == {"turn", "message", "part", "delta", "done"}


def test_outputs_beside_deltas_are_told_when_they_change():
    def predict(message, history):
        for number, word in enumerate(("a", "b", "c")):
            yield word, number // 2

    (turn,) = ask(predict, additional_outputs=("n",), yields="deltas")
    assert parts_of(turn) == [text("a"), data("n", 0), text("bc"), data("n", 1)]


def test_state_is_the_sessions_state():
    def predict(message, history, ctx: ChatContext):
        count = ctx.session.state.get("count", 0) + 1
        return f"turn {count}", {"count": count}

    assert [turn.text for turn in ask(predict, "a", "b", "c", additional_outputs=("state",))] == [
        "turn 1",
        "turn 2",
        "turn 3",
    ]


def returning(result: Any, *yielded: Any) -> Callable[..., Any]:
    def predict(message, history):
        yield from yielded
        return result

    return predict


@pytest.mark.parametrize(
    ("function", "yields", "words"),
    [
        (returning("only"), "snapshots", "only"),
        (returning("ab", "a"), "snapshots", "ab"),
        (returning("b", "a"), "deltas", "ab"),
        (returning(None, "a"), "snapshots", "a"),
        (returning({"content": "message"}, "a"), "snapshots", "message"),
    ],
)
def test_what_a_generator_returns_counts_as_a_last_yield(function: Callable[..., Any], yields: Any, words: str):
    async def wrapped(message, history):
        return function(message, history)

    for served in (function, lambda message, history: function(message, history), wrapped):
        (turn,) = ask(served, name="give", yields=yields)
        assert (turn.status, turn.text) == ("completed", words)
