"""What `chatserve run TARGET` finds in files and modules, and what it says where it finds nothing."""

import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from chatserve.cli.target import TargetError, load_target

NUMBERS = count()
APP = """
from chatserve import ChatServer
app = ChatServer(title="Echo")
@app.chat
def answer(message, history):
    return message
"""


@pytest.fixture(autouse=True)
def _imports_are_forgotten() -> Iterator[None]:
    path, modules = sys.path.copy(), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path, text: str, name: str = "target.py") -> str:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return str(path)


def refusal(target: str) -> str:
    with pytest.raises(TargetError) as refused:
        load_target(target)
    assert "\n" not in refused.value.detail
    return refused.value.detail


def test_a_chat_server_in_a_file_is_served(folder: Path):
    target = load_target(write(folder, APP))
    assert list(target.app.chats) == ["answer"]
    assert target.app.title == "Echo"
    assert target.taken == "the ChatServer 'app'"
    assert target.folder == folder


def test_a_chat_server_wins_over_functions(folder: Path):
    target = load_target(write(folder, APP + "def predict(message, history): ...\n"))
    assert list(target.app.chats) == ["answer"]


def test_the_chat_server_named_app_is_taken_of_several(folder: Path):
    text = APP + "other = ChatServer(title='Other')\nother.chat(answer)\n"
    assert load_target(write(folder, text)).app.title == "Echo"


def test_a_chat_server_of_two_names_is_one(folder: Path):
    text = APP.replace("app", "first") + "second = first\n"
    assert load_target(write(folder, text)).app.title == "Echo"


def test_several_chat_servers_are_named(folder: Path):
    text = APP.replace("app", "one") + APP.replace("app", "two").replace("answer", "reply")
    assert "target.py has several ChatServers: one, two; write target.py:NAME" in refusal(write(folder, text))


def test_an_attribute_picks_one_of_several_chat_servers(folder: Path):
    text = APP.replace("app", "one").replace("Echo", "One") + APP.replace("app", "two").replace("Echo", "Two")
    assert load_target(write(folder, text) + ":two").app.title == "Two"


def test_a_chat_server_without_chats_is_refused(folder: Path):
    assert "has no chat" in refusal(write(folder, "from chatserve import ChatServer\napp = ChatServer()\n"))


@pytest.mark.parametrize("name", ["predict", "chat", "respond"])
def test_functions_of_the_usual_names_are_served(folder: Path, name: str):
    text = f"def helper(message, history): ...\ndef {name}(a, b, temperature=0.5): ...\n"
    target = load_target(write(folder, text))
    assert list(target.app.chats) == [name]
    assert target.taken == f"the function {name!r}"
    assert target.app.title == "Target"


def test_the_only_candidate_is_served(folder: Path):
    text = (
        "from os.path import join\ndef one(message): ...\ndef _hidden(a, b): ...\nclass C: ...\ndef echo(m, h): ...\n"
    )
    assert list(load_target(write(folder, text)).app.chats) == ["echo"]


def test_a_function_of_message_and_history_goes_before_helpers_of_two_parameters(folder: Path):
    text = "def add(a, b): ...\ndef slow_echo(message, history): ...\n"
    assert list(load_target(write(folder, text)).app.chats) == ["slow_echo"]


def test_several_candidates_are_named(folder: Path):
    text = "def yes(message, history): ...\nasync def no(message, history): ...\n"
    assert "target.py has several functions that could be the chat function: yes, no;" in refusal(write(folder, text))


def test_an_attribute_picks_one_of_several_functions(folder: Path):
    text = "def yes(message, history): ...\ndef no(message, history): ...\n"
    assert list(load_target(write(folder, text) + ":no").app.chats) == ["no"]


def test_a_file_without_a_candidate_is_told_what_to_write(folder: Path):
    detail = refusal(write(folder, "def predict(message): ...\n"))
    assert "target.py has neither a ChatServer nor a chat function" in detail
    assert "def predict(message, history)" in detail


def test_a_name_that_is_not_there_is_told_what_is(folder: Path):
    assert refusal(write(folder, APP) + ":nope") == "target.py: there is no 'nope' in it; it has app, answer"


def test_an_attribute_that_is_neither_is_refused(folder: Path):
    assert "'app' is of type int, neither a ChatServer nor a chat function" in refusal(
        write(folder, "app = 3\n") + ":app"
    )


def test_a_chosen_function_that_takes_too_little_is_refused(folder: Path):
    assert "takes 1 positional parameter(s)" in refusal(write(folder, "def one(message): ...\n") + ":one")


def test_modules_are_found_beside_the_caller(folder: Path):
    name = f"package_{next(NUMBERS)}"
    write(folder, "", f"{name}/__init__.py")
    write(folder, APP, f"{name}/served.py")
    assert load_target(f"{name}.served:app").app.title == "Echo"
    assert list(load_target(f"{name}.served:answer").app.chats) == ["answer"]


def test_a_file_of_a_package_can_import_its_siblings(folder: Path):
    name = f"package_{next(NUMBERS)}"
    write(folder, "", f"{name}/__init__.py")
    write(folder, "PREFIX = '> '\n", f"{name}/words.py")
    file = write(folder, "from .words import PREFIX\n" + APP, f"{name}/served.py")
    target = load_target(file)
    assert target.app.title == "Echo"
    assert target.folder == folder


def test_a_syntax_error_is_told_with_its_line(folder: Path):
    assert refusal(write(folder, "x = 1\ndef (\n")) == "target.py:2: SyntaxError: invalid syntax"


def test_an_import_error_is_told_with_its_line(folder: Path):
    text = "import sys\n\nimport there_is_no_such_module\n"
    assert refusal(write(folder, text)) == "target.py:3: ModuleNotFoundError: No module named 'there_is_no_such_module'"


def test_an_error_deep_in_a_library_is_told_with_the_line_that_called_it(folder: Path):
    text = "import json\nconfiguration = json.loads('{')\n"
    assert refusal(write(folder, text)).startswith("target.py:2: JSONDecodeError: Expecting property name")


def test_an_error_in_a_sibling_is_told_with_its_line(folder: Path):
    name = f"sibling_{next(NUMBERS)}"
    write(folder, "\n1 / 0\n", f"{name}.py")
    assert refusal(write(folder, f"import {name}\n")) == f"{name}.py:2: ZeroDivisionError: division by zero"


def test_a_message_of_several_lines_becomes_one(folder: Path):
    assert refusal(write(folder, "raise ValueError('one\\ntwo')\n")) == "target.py:1: ValueError: one two"


def test_a_file_that_exits_is_refused(folder: Path):
    assert refusal(write(folder, "import sys\nsys.exit('no key')\n")) == "target.py:2: SystemExit: no key"


def test_an_option_that_is_wrong_is_told_with_its_line(folder: Path):
    text = APP.replace("@app.chat", "@app.chat(histroy='tuples')")
    detail = refusal(write(folder, text))
    assert detail.startswith("target.py:4: ConfigurationError: ")
    assert "histroy" in detail


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("nope.py", "there is no file"),
        ("folder/nope.py", "there is no file"),
        (".", "is a folder; name a file in it: app.py"),
        ("no_such_module:app", "there is no module 'no_such_module'"),
        ("chatserve.nope:app", "there is no module 'chatserve.nope'"),
        ("a b", "is neither a file nor a module"),
        ("", "is neither a file nor a module"),
        ("app.py:", "there is no file"),
        ("app.py:1x", "'1x' is not a name"),
    ],
)
def test_targets_that_are_none_are_refused(folder: Path, target: str, said: str):
    assert said in refusal(target)


def test_a_file_that_has_the_name_of_a_loaded_module_is_refused(folder: Path):
    assert "a module 'json' is loaded already" in refusal(write(folder, APP, "json.py"))


def test_a_file_with_a_name_that_cannot_be_imported_is_refused(folder: Path):
    assert "give the file a name like app.py" in refusal(write(folder, APP, "my-app.py"))
