"""Files that never import chatserve: which function is served, under which name, and what the command line adds."""

import re
from pathlib import Path

import pytest

from tests.cli.processes import command, refusal, write
from tests.support.server import serve

NAMES: list[tuple[str, str]] = [
    ("predict = lambda m, h: m", "predict"),
    ("from functools import partial\ndef _ask(key, m, h): return m\npredict = partial(_ask, 'k')", "predict"),
    ("from functools import partial\ndef _ask(key, m, h): return m\npredict = partial(_ask, key='k')", "predict"),
    ("class Bot:\n    def answer(self, m, h): return m\npredict = Bot().answer", "predict"),
    ("class Bot:\n    def __call__(self, m, h): return m\nbot = Bot()", "bot"),
    ("def f(m, h): return m\nrespond = f", "respond"),
    ("def f(m, h): return m\nother = f", "f"),
    ("def wrap(g):\n    return lambda m, h: m\n@wrap\ndef reply(m, h): ...", "reply"),
    ("import os.path\njoin = os.path.commonpath\nget = os.environ.get\ndef echo(m, h): return m", "echo"),
    ("try:\n    def echo(m, h): return m\nexcept OSError: ...", "echo"),
    ("class App:\n    def __call__(self, scope): ...\napp = App()\necho = lambda m, h: m", "echo"),
]


@pytest.mark.parametrize(("text", "name"), NAMES)
def test_function_is_served_under_its_name_in_the_module(tmp_path: Path, text: str, name: str):
    done = command("check", write(tmp_path, text + "\n"), cwd=tmp_path)
    assert done.stdout.startswith(f"app.py: the function {name!r}, titled 'App'\n\nchat {name!r} at /chat/{name}\n"), (
        done
    )


PAIRS = "def predict(message, history):\n    return ' '.join(user for user, bot in history)\n"
PARTS = "def predict(message, history):\n    return ' '.join(m['content'][0]['text'] for m in history)\n"
DELTAS = "def predict(message, history):\n    yield 'a'\n    yield 'b'\n"
FILES = "def predict(message, history):\n    return str(len(message['files']))\n"


def test_pairs_are_recognized_and_the_first_lines_say_why(tmp_path: Path):
    with serve(write(tmp_path, PAIRS), cwd=tmp_path) as server:
        session = server.ask("one")["session_id"]
        assert server.ask("two", session)["text"] == "one"
        assert (
            "  history   tuples, as line 2 says `for user, bot in history` (--history messages otherwise)"
            in server.log.splitlines()
        )


def test_parts_of_gradio_6_are_recognized(tmp_path: Path):
    with serve(write(tmp_path, PARTS), cwd=tmp_path) as server:
        session = server.ask("one")["session_id"]
        assert server.ask("two", session)["text"] == "one "
        assert "  history   gradio6, as line 2 says `m['content'][0]['text']`" in server.log


@pytest.mark.parametrize(
    ("text", "option", "line"),
    [
        (PAIRS, "--history=messages", "history messages"),
        (DELTAS, "--yields=deltas", "yields deltas"),
        (FILES, "--multimodal", 'message {"text", "files"}'),
        (FILES, "--no-multimodal", "message a string"),
        (PAIRS, "--name=support", "chat 'support' at /chat/support"),
    ],
)
def test_command_line_says_what_a_decorator_would(tmp_path: Path, text: str, option: str, line: str):
    done = command("check", write(tmp_path, text), option, cwd=tmp_path)
    assert line in [" ".join(each.split()) for each in done.stdout.splitlines()], done


def test_server_runs_with_what_the_command_line_says(tmp_path: Path):
    args = ("--yields", "deltas", "--name", "letters", "--multimodal")
    with serve(write(tmp_path, DELTAS), *args, cwd=tmp_path) as server:
        assert server.ask({"text": "x", "files": []}, chat="letters")["text"] == "ab"


def test_check_says_why_a_function_gets_messages(tmp_path: Path):
    done = command("check", write(tmp_path, "def predict(message, history): return message\n"), cwd=tmp_path)
    assert re.search(
        r"^  history +messages, as nothing in the source says otherwise \(--history tuples", done.stdout, re.M
    )


@pytest.mark.parametrize(("option", "written"), [("--history=tuples", "history='tuples'"), ("--name=x", "name='x'")])
def test_options_of_a_function_are_refused_beside_a_chat_server(tmp_path: Path, option: str, written: str):
    text = "from chatserve import ChatServer\napp = ChatServer()\n@app.chat\ndef predict(m, h): ...\n"
    name = option.partition("=")[0]
    assert refusal("check", write(tmp_path, text), option, cwd=tmp_path) == (
        f"chatserve: app.py: {name} is for files without a ChatServer; in this one write @app.chat({written})"
    )


def test_name_for_several_interfaces_is_refused(tmp_path: Path):
    text = "import gradio as gr\ndef a(m, h): ...\ndef b(m, h): ...\ngr.ChatInterface(a)\ngr.ChatInterface(b)\n"
    assert "--name names one chat, and it has a, b; write app.py:NAME" in refusal(
        "check", write(tmp_path, text), "--name", "x", cwd=tmp_path
    )


def test_shape_that_does_not_exist_is_refused(tmp_path: Path):
    assert "'pairs' is not one of" in refusal("run", write(tmp_path, PAIRS), "--history", "pairs", cwd=tmp_path)
