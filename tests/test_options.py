"""Options of `@app.chat` are checked where a chat is registered: wrong ones are refused in one line that says why."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from chatserve import ChatMessage, ChatServer
from chatserve.chat_function import ChatOptions
from chatserve.core.configuration import allowed_of
from chatserve.core.errors import ConfigurationError
from chatserve.core.types import HistoryFormatName
from chatserve.formats.history import HISTORY_FORMATS

WRONG: dict[str, tuple[Any, ...]] = {
    "name": ("", 5, "a/b", ".", "..", " a", "a\n", "a\x00b", "\ud800", "a" * 201, b"a"),
    "aliases": ("gpt-4o", ("gpt-4o", ""), (1,), None, 5, {"gpt-4o": 1}),
    "title": (5, "\ud800", b"Support"),
    "description": (5, ["Answers"], "\udfff"),
    "history": ("tuple", "openai", None, ["messages"]),
    "yields": ("delta", "snapshot", None, True),
    "multimodal": ("yes", 1, None),
    "examples": ("Hello", {"text": "Hello"}, 5, None),
    "cache_examples": ("yes", 1, None, "Eager"),
    "concurrency_limit": (0, -1, 1.5, "2", True, "none"),
    "max_queue": (-1, 1.5, "10", None, False),
    "when_busy": ("wait", None, True),
    "on_disconnect": ("ignore", None, False),
    "turn_timeout_s": ("60", 0, -1, True, math.nan, math.inf, 1e12),
    "history_limit": (-1, "20", 1.5, True),
    "history_includes": ("told", None, True),
    "greeting": ("", 5, {"content": "Hi", "role": "user"}, ["Hi", ""], {"content": ["Hi"]}, "\udfff"),
    "additional_outputs": (5, "code", None, (5,), ("",), ("a", "a"), {"a": 1}),
    "validator": ("polite", 5, True),
    "feedback": ("like", ("like", ""), (1, 2), None, 5, {"like": 1}),
}

RIGHT: dict[str, tuple[Any, ...]] = {
    "name": (None, "support", "odd name é", "<lambda>", "openai.gpt-4o", "a" * 200),
    "aliases": ((), ["gpt-4o"], ("openai/gpt-4o", "claude-*")),
    "title": (None, "", "Support"),
    "description": (None, "", "Answers"),
    "history": get_args(HistoryFormatName),
    "yields": ("snapshots", "deltas"),
    "multimodal": (True, False),
    "examples": ((), ["Hello"], (text for text in "ab"), ["Hello", ["Hello", 2]]),
    "cache_examples": (False,),
    "concurrency_limit": (None, "default", 1, 10_000),
    "max_queue": (0, 1),
    "when_busy": ("reject", "queue", "interrupt", "rollback"),
    "on_disconnect": ("continue", "stop"),
    "turn_timeout_s": (None, 60, 0.5),
    "history_limit": (None, 0, 20),
    "history_includes": ("answered", "all"),
    "greeting": (None, "Hi", ["Hi", {"content": "Ask me"}], ChatMessage("Hi", options=[{"value": "a"}])),
    "additional_outputs": ((), ["code"], ("code", "state")),
    "validator": (None, lambda message, times=1: None, lambda *_, **anything: None, lambda message, **inputs: True),
    "feedback": ((), ["1", "2"], ("like",), (value for value in ("a", "b"))),
}


def predict(message: str, history: list[Any], times: int = 1) -> str:
    return message * times


def refusal(function: Any = predict, **options: Any) -> str:
    """Return the line that refuses a chat with these options."""
    app = ChatServer()
    with pytest.raises(ConfigurationError) as refused:
        app.chat(**options)(function)
    assert not app.chats
    line = refused.value.detail
    assert len(line.splitlines()) == 1
    return line


def registered(function: Any = predict, **options: Any) -> ChatOptions:
    app = ChatServer()
    app.chat(**options)(function)
    (chat,) = app.chats.values()
    return chat.options


def each(table: dict[str, tuple[Any, ...]]) -> list[Any]:
    rows = ((name, value) for name, values in table.items() for value in values)
    return [pytest.param(name, value, id=f"{name}-{number}") for number, (name, value) in enumerate(rows)]


@pytest.mark.parametrize("name", ChatOptions.model_fields)
def test_option_has_wrong_values_and_right_ones_here(name: str) -> None:
    assert WRONG[name]
    assert RIGHT[name]


@pytest.mark.parametrize(("name", "value"), each(WRONG))
def test_wrong_value_is_refused_with_chat_option_value_and_what_it_may_be(name: str, value: Any) -> None:
    line = refusal(**{"name": "support"} | {name: value})
    chat = "chat " if name == "name" else "chat 'support': "
    assert line.startswith(chat)
    shown = repr(value) if len(repr(value)) < 100 else repr(value)[:40]
    assert f"{name}={shown}" in line
    assert line.endswith(f": may be {allowed_of(ChatOptions.model_fields[name])}")


@pytest.mark.parametrize(("name", "value"), each(RIGHT))
def test_right_value_is_taken(name: str, value: Any) -> None:
    assert registered(**{name: value}) is not None


def test_line_says_what_may_be_in_words() -> None:
    assert refusal(name="support", yields="delta") == "chat 'support': yields='delta': may be 'snapshots' or 'deltas'"
    assert refusal(name="support", max_queue="10") == "chat 'support': max_queue='10': may be a whole number, 0 or more"
    assert refusal(name="support", multimodal="yes") == "chat 'support': multimodal='yes': may be True or False"


def test_option_that_is_none_is_refused_with_those_there_are() -> None:
    line = refusal(histroy="tuples")
    assert line.startswith("chat 'predict': histroy='tuples': unknown; there are name, aliases, title, ")
    assert all(name in line for name in ChatOptions.model_fields)


def test_long_value_is_cut_and_stays_on_one_line() -> None:
    assert len(refusal(history="line\n" * 1000)) < 400
    assert len(refusal(examples={str(number): "x" * 1000 for number in range(100)})) < 1000


def test_value_that_cannot_be_shown_is_refused_all_the_same() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError

    assert refusal(history=Broken()).endswith("may be 'messages', 'tuples', 'gradio5' or 'gradio6'")


@pytest.mark.parametrize("function", [None, 5, "support", ["predict"], {"name": "support"}])
def test_what_cannot_be_called_is_no_chat_function(function: Any) -> None:
    assert refusal(function).endswith("cannot be called, so it is no chat function")


def test_alias_that_is_taken_is_refused() -> None:
    app = ChatServer()
    app.chat(name="a", aliases=["gpt-4o", "claude-*"])(predict)
    with pytest.raises(ConfigurationError, match=r"chat 'b': aliases=.*: 'claude-\*' is an alias of the chat 'a'"):
        app.chat(name="b", aliases=["claude-*"])(predict)
    assert list(app.chats) == ["a"]


def test_name_that_is_taken_is_refused_and_the_first_chat_stays() -> None:
    app = ChatServer()
    app.chat(name="support")(predict)
    with pytest.raises(ConfigurationError, match=r"two chats are named 'support'.*name=…"):
        app.chat(name="support")(lambda message, history: message)
    assert app.chats["support"].function is predict


def test_registries_and_types_name_the_same_histories() -> None:
    assert set(get_args(HistoryFormatName)) == set(HISTORY_FORMATS)


# --- what follows from the function ------------------------------------------------------------------------------


async def predict_async(message: str, history: list[Any]) -> str:
    """Answer at once."""
    return message


def test_options_left_out_follow_from_the_function() -> None:
    options = registered(predict_async)
    assert (options.name, options.title, options.description) == ("predict_async", "Predict async", "Answer at once.")
    assert options.concurrency_limit is None
    assert registered(predict).concurrency_limit == 64
    assert registered(predict, concurrency_limit=None).concurrency_limit is None


@pytest.mark.parametrize(("given", "kept"), [(True, "eager"), ("eager", "eager"), ("lazy", "lazy"), (False, False)])
def test_true_stands_for_eager(given: Any, kept: Any) -> None:
    assert registered(examples=["a"], cache_examples=given).cache_examples == kept


# --- examples ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("example", "reason"),
    [
        (5, "neither a message nor [message, *inputs]"),
        (None, "neither a message nor [message, *inputs]"),
        ([], "neither a message nor [message, *inputs]"),
        (["a", 1, 2], "neither a message nor [message, *inputs] of 1 input(s)"),
        ([5], "its message may be a text or {'text', 'files'}, not 5"),
        ([["a"]], "its message may be a text or {'text', 'files'}, not ['a']"),
        ({"text": 5}, "its 'text' may be a text, not 5"),
        ({"message": {"text": None}}, "its 'text' may be a text, not None"),
        ({"text": "a", "times": 2}, "'times' is no member of it; there are message, text, files, inputs"),
        ({"message": {"role": "user"}}, "'role' is no member of it; there are text, files"),
        ({"text": "a", "inputs": [2]}, "its 'inputs' may be a mapping of names to values, not [2]"),
        ({"text": "a", "inputs": {"tims": 2}}, "inputs.tims: Extra inputs are not permitted"),
        (["a", "two"], "inputs.times: Input should be a valid integer"),
        ({"text": "a", "files": ["cat.png"]}, "it has files, which only a chat with multimodal=True takes"),
        ({"message": {"text": "a", "files": [Path("cat.png")]}}, "it has files, which only a chat with multimodal"),
        ([{"text": "a", "files": ["cat.png"]}, 2], "it has files, which only a chat with multimodal=True takes"),
        ({"text": "a", "files": "cat.png"}, "its 'files' may be a list of paths, not 'cat.png'"),
    ],
)
def test_example_this_chat_cannot_answer_is_refused(example: Any, reason: str) -> None:
    line = refusal(name="support", examples=["Hello", example])
    assert line.startswith("chat 'support': examples[1]=")
    assert reason in line


# --- options that do not go together -----------------------------------------------------------------------------


@pytest.mark.parametrize("cache", [True, "eager", "lazy"])
def test_cache_without_examples_is_refused(cache: Any) -> None:
    assert "may be False only, as there are no examples" in refusal(cache_examples=cache)


def test_queue_without_places_is_refused() -> None:
    assert "max_queue=0: may be 1 or more only" in refusal(when_busy="queue", max_queue=0)
    assert registered(when_busy="reject", max_queue=0) is not None
    assert registered(concurrency_limit=None, max_queue=5) is not None


def demanding(message: str, history: list[Any], tone: str) -> str:
    return tone


def test_cached_example_that_lacks_an_input_is_refused() -> None:
    assert "examples[0]='a': inputs.tone: Field required" in refusal(demanding, examples=["a"], cache_examples="lazy")
    assert registered(demanding, examples=["a"]) is not None
    assert registered(demanding, examples=[["a", "kind"]], cache_examples="lazy") is not None


@pytest.mark.parametrize(
    ("validator", "reason"),
    [
        (lambda: None, "too many positional arguments"),
        (lambda message: None, "unexpected keyword argument 'times'"),
        (lambda message, times, tone: None, "missing a required argument: 'tone'"),
    ],
)
def test_validator_that_does_not_take_the_inputs_is_refused(validator: Callable[..., Any], reason: str) -> None:
    line = refusal(validator=validator)
    assert "may be a function of the message and the inputs (message, times)" in line
    assert reason in line
