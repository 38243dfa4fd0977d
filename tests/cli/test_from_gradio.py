"""docs/from-gradio.md holds: it has every parameter that ChatInterface ever had, and each becomes what its row says."""

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chatserve.cli.target import Target, load_target
from chatserve.cli.target.gradio import PARAMETERS
from chatserve.cli.target.gradio.recorder import _Finder
from chatserve.testing import ChatClient, RequestRefused
from tests.cli.gradio_files import SIGNATURES
from tests.support.server import ROOT

PAGE = (ROOT / "docs" / "from-gradio.md").read_text("utf-8")
ROWS = {
    name: (tuple(releases.split()), fate)
    for name, releases, fate in re.findall(r"^\| `(\w+)` \| ([\d ]+) \| ([a-z ]+) \|", PAGE, re.MULTILINE)
}
VALUES: dict[str, str] = {
    "textbox": "gr.Textbox()",
    "additional_inputs_accordion": "gr.Accordion(label='More')",
    "theme": "gr.themes.Soft()",
    "example_labels": "['a']",
    "example_icons": "['a.png']",
    "delete_cache": "(60, 60)",
    "show_progress": "'hidden'",
    "flagging_dir": "'flags'",
    "api_visibility": "'private'",
}
"""Values of parameters for which True is none."""


@pytest.fixture(autouse=True)
def _gradio_is_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setattr(_Finder, "_installed", lambda self: None)
    monkeypatch.chdir(tmp_path)
    path, modules = sys.path.copy(), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def load(
    arguments: str, function: str = "def predict(message, history, *more): return str((message, *more))"
) -> Target:
    Path("demo.py").write_text(f"import gradio as gr\n{function}\ngr.ChatInterface({arguments}).queue()\n", "utf-8")
    return load_target("demo.py")


def options(target: Target) -> Any:
    (chat,) = target.app.chats.values()
    return chat.options


def notes(target: Target) -> dict[str, str]:
    return {note.label: note.text for note in target.notes}


def test_page_has_the_parameters_of_every_release():
    every = dict.fromkeys(name for names in SIGNATURES.values() for name in names)
    assert ROWS.keys() == every.keys() == PARAMETERS.keys()


@pytest.mark.parametrize("name", PARAMETERS)
def test_row_has_the_releases_and_the_fate_of_a_parameter(name: str):
    releases = tuple(release for release, names in SIGNATURES.items() if name in names)
    assert ROWS[name] == (releases, PARAMETERS[name])


@pytest.mark.parametrize("name", [name for name, fate in PARAMETERS.items() if fate != "carried over"])
def test_parameter_that_is_not_carried_over_does_no_harm_and_is_named(name: str):
    target = load(f"predict, {name}={VALUES.get(name, 'True')}")
    assert notes(target)[PARAMETERS[name]] == name
    with ChatClient(target.app) as client:
        assert client.session().send("a").text == "('a',)"


def _answers(target: Target, message: str) -> Any:
    with ChatClient(target.app) as client:
        return client.session().send(message).messages


def _refusal(target: Target, message: str) -> str:
    with ChatClient(target.app) as client, pytest.raises(RequestRefused) as refused:
        client.session().send(message)
    return str(refused.value)


CARRIED: list[tuple[str, str, Callable[[Target], Any], Any]] = [
    ("fn", "fn=predict", lambda t: options(t).name, "predict"),
    ("type", "predict, type='tuples'", lambda t: options(t).history, "tuples"),
    ("type", "predict, type='messages'", lambda t: options(t).history, "messages"),
    ("chatbot", "predict, chatbot=gr.Chatbot(type='tuples')", lambda t: options(t).history, "tuples"),
    ("multimodal", "predict, multimodal=True", lambda t: options(t).multimodal, True),
    ("chatbot", "predict, chatbot=gr.Chatbot([[None, 'Hi']])", lambda t: greeting(t), ["Hi"]),
    (
        "chatbot",
        "predict, chatbot=gr.Chatbot(value=[{'role': 'assistant', 'content': 'Hi'}, gr.ChatMessage('there')])",
        lambda t: greeting(t),
        ["Hi", "there"],
    ),
    (
        "chatbot",
        "predict, chatbot=gr.Chatbot(value=[['a', 'b']], height=3)",
        lambda t: (greeting(t), notes(t)["not carried over"]),
        ([], "chatbot's height, chatbot's value"),
    ),
    (
        "additional_inputs",
        "predict, additional_inputs=gr.Number(3, label='How many')",
        lambda t: next(iter(t.app.chats.values())).inputs_schema["properties"],
        {"how_many": {"default": 3, "title": "How many", "type": "number"}},
    ),
    (
        "additional_outputs",
        "predict, additional_outputs=[gr.JSON(label='My numbers')]",
        lambda t: options(t).additional_outputs,
        ("my_numbers",),
    ),
    (
        "additional_outputs",
        "predict, additional_outputs=[code := gr.Code()]",
        lambda t: options(t).additional_outputs,
        ("code",),
    ),
    ("examples", "predict, examples=['a', 'b']", lambda t: [e.text for e in _examples(t)], ["a", "b"]),
    (
        "examples",
        "predict, additional_inputs=[gr.State(1), 'text'], examples=[['a', None, 'x'], ['b']]",
        lambda t: [(e.text, e.inputs) for e in _examples(t)],
        [("a", {"input_2": "x"}), ("b", {})],
    ),
    ("cache_examples", "predict, examples=['a'], cache_examples=True", lambda t: options(t).cache_examples, "eager"),
    ("cache_examples", "predict, examples=['a'], cache_examples='lazy'", lambda t: options(t).cache_examples, "lazy"),
    ("cache_examples", "predict, cache_examples=True", lambda t: options(t).cache_examples, False),
    (
        "cache_mode",
        "predict, examples=['a'], cache_examples=True, cache_mode='lazy'",
        lambda t: options(t).cache_examples,
        "lazy",
    ),
    ("title", "predict, title='T'", lambda t: (options(t).title, t.app.title), ("T", "T")),
    ("description", "predict, description='D'", lambda t: options(t).description, "D"),
    ("concurrency_limit", "predict, concurrency_limit=3", lambda t: options(t).concurrency_limit, 3),
    ("concurrency_limit", "predict, concurrency_limit=None", lambda t: options(t).concurrency_limit, 64),
    ("api_name", "predict, api_name='/ask'", lambda t: options(t).name, "ask"),
    ("api_name", "predict, api_name=False", lambda t: options(t).name, "predict"),
    ("api_description", "predict, api_description='D'", lambda t: options(t).description, "D"),
    (
        "validator",
        "predict, validator=lambda message: gr.validate(len(message) > 1, 'too short')",
        lambda t: "too short" in _refusal(t, "a") and _answers(t, "ab")[0]["content"],
        "('ab',)",
    ),
    ("validator", "predict, validator=lambda message: None", lambda t: _answers(t, "a")[0]["content"], "('a',)"),
    (
        "flagging_mode",
        "predict, flagging_mode='manual', flagging_options=['Good', 'Bad']",
        lambda t: options(t).feedback,
        ("Good", "Bad"),
    ),
    ("flagging_options", "predict, flagging_options=['Good']", lambda t: options(t).feedback, ("like", "dislike")),
]


def greeting(target: Target) -> list[str]:
    """Return what a new session begins with."""
    with ChatClient(target.app) as client:
        session = client.session()
        session.send("a")
        return [message["content"] for message in session.messages[:-2]]


def _examples(target: Target) -> Any:
    return next(iter(target.app.chats.values())).examples


@pytest.mark.parametrize(("name", "arguments", "seen", "expected"), CARRIED, ids=[each[1] for each in CARRIED])
def test_parameter_is_carried_over(name: str, arguments: str, seen: Callable[[Target], Any], expected: Any):
    target = load(arguments)
    assert seen(target) == expected
    assert not re.search(rf"\b{name}=", arguments) or name in notes(target)["carried over"]


def test_every_parameter_that_is_carried_over_has_a_case():
    assert {each[0] for each in CARRIED} == {name for name, fate in PARAMETERS.items() if fate == "carried over"}
