"""Which shape of history `chatserve run` reads from a bare function: a table of annotations and of idioms."""

import ast
import textwrap
import typing
from typing import Any

import pytest

from chatserve.cli.target.evidence import shape_in
from chatserve.cli.target.shapes import shape_of_annotation

ANNOTATIONS: dict[str, str | None] = {
    "list[list[str]]": "tuples",
    "list[list[str | None]]": "tuples",
    "list[tuple[str, str]]": "tuples",
    "list[tuple[str | None, str | None]] | None": "tuples",
    "typing.List[typing.Tuple[str, str]]": "tuples",
    "typing.Sequence[typing.Sequence[str]]": None,
    "typing.Optional[typing.List[typing.List[str]]]": "tuples",
    "typing.Annotated[list[list[str]], 'pairs']": "tuples",
    "list[dict]": "messages",
    "list[dict[str, str]]": "messages",
    "typing.List[typing.Dict[str, typing.Any]]": "messages",
    "typing.Iterable[typing.Mapping[str, str]]": "messages",
    "list[ChatMessage]": "messages",
    "list[dict | ChatMessage]": "messages",
    "list[dict | list[str]]": None,
    "list": None,
    "list[typing.Any]": None,
    "list[str]": None,
    "typing.Any": None,
    "dict[str, list[str]]": None,
}


class ChatMessage:
    """A class of messages, recognized by its name."""


@pytest.mark.parametrize("text", ANNOTATIONS)
def test_annotation_decides_the_shape_of_history(text: str):
    annotation: Any = eval(text, {"typing": typing, "ChatMessage": ChatMessage})
    assert shape_of_annotation(annotation) == ANNOTATIONS[text]


IDIOMS: list[tuple[str, str | None]] = [
    # pairs
    ("for user, bot in history: print(user)", "tuples"),
    ("for i, (user, bot) in enumerate(history): pass", "tuples"),
    ("for (user, bot), n in zip(history, range(9)): pass", "tuples"),
    ("for h in history:\n    x = h[0]", "tuples"),
    ("for i, h in enumerate(history): h[1]", "tuples"),
    ("for h in history:\n    user, bot = h", "tuples"),
    ("x = history[-1][0]", "tuples"),
    ("for i in range(len(history)): print(history[i][0], history[i][1])", "tuples"),
    ("user, bot = history[-1]", "tuples"),
    ("m = [{'role': 'user', 'content': user} for user, _ in history]", "tuples"),
    ("m = ''.join([''.join(['<s>' + pair[0], pair[1]]) for pair in history])", "tuples"),
    ("m = [m for pair in history for m in ({'role': 'user', 'content': pair[0]},)]", "tuples"),
    ("users, bots = zip(*history)", "tuples"),
    ("import itertools\nx = list(itertools.chain(*history))", "tuples"),
    ("from itertools import chain\nx = list(chain.from_iterable(history))", "tuples"),
    ("x = sum(history, [])", "tuples"),
    ("x = list(map(lambda pair: pair[0], history))", "tuples"),
    ("history.append([message, None])", "tuples"),
    ("history.append((message, ''))\nhistory[-1][1] += 'x'", "tuples"),
    ("history = history + [(message, '')]", "tuples"),
    ("history += [[message, '']]", "tuples"),
    ("turns = history or []\nfor user, bot in turns[-5:]: pass", "tuples"),
    ("turns = history.copy()\nwhile turns:\n    user, bot = turns.pop(0)", "tuples"),
    ("history = [{'role': 'user', 'content': h[0]} for h in history]\nfor m in history: m['role']", "tuples"),
    ("return prompt(message, history)", "tuples"),
    ("return Model().answer(message, history=history)", "tuples"),
    # messages
    ("for h in history: x = h['role']", "messages"),
    ("for h in history: x = h.get('content')", "messages"),
    ("m = [{'role': m['role'], 'content': m['content']} for m in history]", "messages"),
    ("m = [*history, {'role': 'user', 'content': message}]", "messages"),
    ("m = history + [{'role': 'user', 'content': message}]", "messages"),
    ("m = [{'role': 'system', 'content': 'x'}] + history", "messages"),
    ("history.append({'role': 'user', 'content': message})", "messages"),
    ("history.append(dict(role='user', content=message))", "messages"),
    ("history.append(gr.ChatMessage(role='user', content=message))", "messages"),
    ("n = len([m for m in history if m['role'] == 'assistant'])", "messages"),
    ("for a, b in zip(history[::2], history[1::2]): print(a['content'])", "messages"),
    ("for h in history: print(h['content'][:20])", "messages"),
    # parts of messages
    ("x = history[-1]['content'][0]['text']", "gradio6"),
    ("for h in history:\n    for part in h['content']:\n        part['text']", "gradio6"),
    ("for h in history:\n    c = h['content']\n    if c[0]['type'] == 'text': pass", "gradio6"),
    ("n = sum(p.get('type') == 'file' for m in history for p in m['content'])", "gradio6"),
    ("for h in history:\n    if isinstance(h['content'], tuple): n = 1", "gradio5"),
    ("for h in history:\n    c = h.get('content')\n    if isinstance(c, (list, tuple)): n = 1", "gradio5"),
    ("n = [m for m in history if type(m['content']) is tuple]", "gradio5"),
    ("n = [m['metadata'] for m in history if m['role'] == 'user']", "gradio5"),
    ("n = [m['options'] for m in history if m['content'][0]['text']]", "gradio6"),
    ("n = [m['content'] for m in history if not m.get('metadata')]", "messages"),
    # nothing
    ("return str(len(history))", None),
    ("for h in history: print(h)", None),
    ("text = history[0]", None),
    ("messages = [{'role': 'system'}]\nmessages.extend(history)", None),
    ("for a, b, c in history: pass", None),
    ("pairs = [(1, 2)]\nfor a, b in pairs: pass", None),
    ("x = message['text'][0]", None),
    ("return unknown(history)", None),
]
HELPERS = """
def prompt(message, turns):
    for user, bot in turns: pass
class Model:
    def answer(self, message, history):
        return history[0][1]
def predict(message, history):
"""


@pytest.mark.parametrize(("body", "expected"), IDIOMS)
def test_what_the_source_does_with_entries_decides_the_shape_of_history(body: str, expected: str | None):
    tree = ast.parse(HELPERS + textwrap.indent(body, "    "))
    function = tree.body[-1]
    assert isinstance(function, ast.FunctionDef)
    shape = shape_in(function, "history", tree)
    assert (None if shape is None else shape.name) == expected
    assert shape is None or "line " in shape.reason
