"""What `chatserve run` reads from files with a `gr.ChatInterface` where Gradio is not installed."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chatserve.cli.target import Target, TargetError, load_target
from chatserve.cli.target.gradio import Record
from chatserve.cli.target.gradio.recorder import _Finder
from chatserve.cli.target.loading import _decide_history
from chatserve.testing import ChatClient
from tests.cli.gradio_files import FILES


@pytest.fixture(autouse=True)
def _gradio_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(_Finder, "_installed", lambda self: None)
    path, modules = sys.path.copy(), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "openai_like.py").write_text("class Client: ...\n", "utf-8")
    return tmp_path


def load(folder: Path, text: str, attribute: str = "", **options: Any) -> Target:
    sys.modules.pop("demo", None)
    file = folder / "demo.py"
    file.write_text(text, "utf-8")
    return load_target(f"{file}{attribute}", options)


def told(target: Target, label: str) -> str:
    return next((note.text for note in target.notes if note.label == label), "")


def ask(target: Target, *messages: Any, **fields: Any) -> list[Any]:
    """Take turns in one session; return the texts of the answers."""
    with ChatClient(target.app) as client:
        session = client.session()
        turns = [session.send(message, **fields).wait() for message in messages]
        assert [turn.status for turn in turns] == ["completed"] * len(turns), turns[-1].error
        return [turn.text for turn in turns]


def schema(target: Target) -> dict[str, Any]:
    chat = next(iter(target.app.chats.values()))
    return chat.inputs_schema["properties"]


def refusal(folder: Path, text: str, attribute: str = "", **options: Any) -> str:
    with pytest.raises(TargetError) as refused:
        load(folder, text, attribute, **options)
    assert "\n" not in refused.value.detail
    return refused.value.detail


def test_interface_is_served_and_launch_starts_nothing(folder: Path):
    target = load(folder, FILES["plain"])
    assert target.taken == "the gr.ChatInterface of 'predict'"
    assert ask(target, "hi") == ["hi"]
    assert told(target, "gradio") == "not installed, so a stand-in was imported"


def test_interface_in_a_page_is_served_and_what_is_lost_is_named(folder: Path):
    target = load(folder, FILES["blocks"])
    assert ask(target, "a") == ["a 3"]
    assert ask(target, "a", inputs={"speed": 4.5}) == ["a 4.5"]
    assert told(target, "not carried over") == (
        "launch's server_name, launch's auth, page's theme, page's css, clear.click, speed.change"
    )
    assert target.app.chats["answer"].options.concurrency_limit == 7


def test_each_interface_of_a_file_is_a_chat(folder: Path):
    target = load(folder, FILES["several"])
    assert list(target.app.chats) == ["yes", "no", "again"]
    assert target.app.title == "Yes"
    assert target.taken == "the gr.ChatInterface of 'yes' and 'no' and 'again'"


@pytest.mark.parametrize(("attribute", "names"), [(":two", ["no"]), (":no", ["no"]), (":demo", ["yes", "no", "again"])])
def test_name_picks_interfaces_of_a_file(folder: Path, attribute: str, names: list[str]):
    assert list(load(folder, FILES["several"], attribute).app.chats) == names


def test_interface_that_is_made_under_main_is_served(folder: Path):
    assert load(folder, FILES["guarded"]).app.title == "Guarded"
    assert load(folder, FILES["guarded"], ":demo").app.title == "Guarded"


def test_interface_that_nothing_makes_is_told(folder: Path):
    target = load(folder, FILES["unread"])
    assert target.taken == "the function 'predict'"
    assert told(target, "gradio") == (
        "the gr.ChatInterface in build() is not read, as nothing calls it: write `demo = build()`"
    )


def test_page_without_an_interface_is_served_only_by_name(folder: Path):
    assert refusal(folder, FILES["page"]) == (
        "demo.py makes a gr.Blocks without a gr.ChatInterface, so its chat function is not known: "
        "name it, demo.py:NAME; it has helper, respond"
    )
    assert ask(load(folder, FILES["page"], ":respond"), "hi") == ["hi"]
    assert "name it, demo.py:NAME" in refusal(folder, FILES["page"], ":demo")


def test_named_function_of_a_page_is_called_as_the_page_calls_it(folder: Path):
    target = load(folder, FILES["wired page"], ":respond")
    assert ask(target, "a", "b") == ["warm 0", "warm 1"]
    assert ask(target, "a", inputs={"tone": "dry"}) == ["dry 0"]


def test_theme_message_request_and_progress_of_the_stand_in_work(folder: Path):
    assert ask(load(folder, FILES["theme"]), "hi") == ["hi!"]


def test_what_gradio_puts_between_the_inputs_is_given_and_its_error_is_shown(folder: Path):
    target = load(folder, FILES["injected"])
    assert list(schema(target)) == ["tone"]
    with ChatClient(target.app) as client:
        session = client.session()
        assert session.send("hi").text == "dry hi None True"
        assert "No more of dry" in str(session.send("stop").error)


def test_state_lives_in_the_session(folder: Path):
    target = load(folder, FILES["state"])
    with ChatClient(target.app) as client:
        one, other = client.session(), client.session()
        texts = [session.send(text).text for session, text in ((one, "a"), (other, "b"), (one, "c"))]
    assert texts == ["1 a", "1 b", "2 c"]
    assert list(schema(target)) == ["words"]


def test_additional_outputs_become_data_named_by_their_labels(folder: Path):
    with ChatClient(load(folder, FILES["state"]).app) as client:
        (message,) = client.session().send("a").messages
    assert [part for part in message["content"] if part["type"] == "data"] == [
        {"type": "data", "name": "shown_last", "data": {"last": "a"}}
    ]


def test_path_in_an_additional_output_for_files_is_never_data(folder: Path):
    text = """
import gradio as gr
def predict(message, history): return [message, message]
demo = gr.ChatInterface(predict, additional_outputs=[gr.Image(label="Picture")])
"""
    with ChatClient(load(folder, text).app) as client:
        turn = client.session().send("/etc/passwd").wait()
        assert turn.status == "failed"
        assert "answer_invalid" in str(turn.error)
        assert "passwd" not in str(turn.messages)


def test_state_without_a_json_form_lives_in_the_process(folder: Path):
    target = load(folder, FILES["object state"])
    assert ask(target, "a", "b") == ["a", "a, b"]
    assert ask(target, "c") == ["c"]


def test_variable_inputs_are_named_by_their_labels(folder: Path):
    target = load(folder, FILES["variable inputs"])
    assert list(schema(target)) == ["input_1", "loud", "input_3"]
    assert ask(target, "x") == ["x ('', True, 'b')"]
    assert ask(target, "x", inputs={"loud": False, "input_3": "a"}) == ["x ('', False, 'a')"]


def test_parameters_that_no_component_fills_keep_their_defaults(folder: Path):
    target = load(folder, FILES["defaults"])
    assert list(schema(target)) == ["temperature"]
    assert ask(target, "x") == ["x 0.5 secret"]


def test_decorators_of_gradio_leave_functions_as_they_are(folder: Path):
    assert ask(load(folder, FILES["decorated"]), "hi") == ["HI"]


COMPONENTS: list[tuple[str, dict[str, Any], Any]] = [
    ("gr.Textbox('a', label='X', info='says')", {"type": "string", "title": "X", "description": "says"}, "a"),
    ("gr.Textbox()", {"type": "string"}, ""),
    ("gr.Textbox(value=lambda: 'made')", {"type": "string"}, "made"),
    ("'textbox'", {"type": "string"}, ""),
    ("gr.Slider(10, 100)", {"type": "number", "minimum": 10, "maximum": 100}, 10),
    ("gr.Slider(minimum=0, maximum=1, value=0.5, step=0.1)", {"type": "number", "minimum": 0, "maximum": 1}, 0.5),
    ("gr.Number(7)", {"type": "number"}, 7),
    ("gr.Number(7, precision=0, minimum=1)", {"type": "integer", "minimum": 1}, 7),
    ("gr.Checkbox()", {"type": "boolean"}, False),
    ("gr.Checkbox(value=True)", {"type": "boolean"}, True),
    ("gr.Dropdown(['a', 'b'])", {"enum": ["a", "b"], "type": "string"}, "a"),
    ("gr.Dropdown(['a', 'b'], value='b')", {"enum": ["a", "b"], "type": "string"}, "b"),
    ("gr.Dropdown([('A', 1), ('B', 2)], value=2)", {"enum": [1, 2], "type": "integer"}, 2),
    ("gr.Dropdown(['a', 'b'], value='b', type='index')", {"enum": ["a", "b"], "type": "string"}, 1),
    (
        "gr.Dropdown(['a', 'b'], value=['a'], multiselect=True)",
        {"type": "array", "items": {"enum": ["a", "b"], "type": "string"}},
        ["a"],
    ),
    ("gr.Dropdown(['a'], value='c', allow_custom_value=True)", {}, "c"),
    ("gr.Radio(['a', 'b'], value='a')", {"enum": ["a", "b"], "type": "string"}, "a"),
    ("gr.Radio(['a', 'b'])", {"anyOf": [{"const": "a", "type": "string"}]}, None),
    ("gr.CheckboxGroup(['a', 'b'])", {"type": "array", "items": {"enum": ["a", "b"], "type": "string"}}, []),
    ("gr.JSON({'a': 1})", {}, {"a": 1}),
    ("gr.ColorPicker('#fff')", {"type": "string"}, "#fff"),
    ("gr.Dataframe([[1]])", {}, [[1]]),
]


@pytest.mark.parametrize(("component", "described", "default"), COMPONENTS, ids=[each[0] for each in COMPONENTS])
def test_component_is_an_input(folder: Path, component: str, described: dict[str, Any], default: Any):
    text = f"""
import gradio as gr, json
def predict(message, history, x): return json.dumps(x)
demo = gr.ChatInterface(predict, additional_inputs=[{component}])
"""
    target = load(folder, text)
    found = schema(target)["x"]
    for name, value in described.items():
        assert name in found
        assert found[name] == value or name == "anyOf"
    (answer,) = ask(target, "hi")
    assert answer == __import__("json").dumps(default)


@pytest.mark.parametrize(
    "component", ["gr.File()", "gr.Image(type='pil')", "gr.Audio()", "gr.UploadButton()", "'file'"]
)
def test_component_of_files_is_no_input_and_the_function_gets_its_value(folder: Path, component: str):
    text = f"""
import gradio as gr
def predict(message, history, document, n): return repr((document, n))
demo = gr.ChatInterface(predict, additional_inputs=[{component}, gr.Number(1)])
"""
    target = load(folder, text)
    assert list(schema(target)) == ["n"]
    assert ask(target, "hi") == ["(None, 1)"]
    assert "additional input document" in told(target, "not carried over")


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ("", "no additional input of its gr.ChatInterface fills 'x'"),
        (", additional_inputs=['text', 'text']", "has 2 additional inputs, and its function takes 1"),
    ],
)
def test_inputs_that_do_not_fit_the_function_are_refused(folder: Path, inputs: str, said: str):
    text = f"import gradio as gr\ndef predict(message, history, x): ...\ndemo = gr.ChatInterface(predict{inputs})\n"
    assert said in refusal(folder, text)


def test_interface_without_a_function_is_refused(folder: Path):
    assert "has no function" in refusal(folder, "import gradio as gr\ndemo = gr.ChatInterface(None)\n")


def test_application_that_tries_to_import_gradio_is_served_as_it_is(folder: Path):
    text = """
from chatserve import ChatServer
try:
    import gradio as gr
    demo = gr.ChatInterface(lambda m, h: m)
except ImportError: ...
app = ChatServer()
@app.chat
def answer(message, history): return message
"""
    assert load(folder, text).taken == "the ChatServer 'app'"


ANSWERS: list[tuple[str, Any]] = [
    ("gr.Code('print(1)', language='python')", "print(1)"),
    ("[gr.HTML('<b>x</b>')]", "<b>x</b>"),
    ("gr.ChatMessage(role='assistant', content='hi')", "hi"),
    ("{'role': 'assistant', 'content': gr.Markdown('x')}", "x"),
    ("gr.JSON({'a': 1})", [{"type": "data", "data": {"a": 1}, "name": "json"}]),
]


@pytest.mark.parametrize(("answer", "content"), ANSWERS, ids=[each[0] for each in ANSWERS])
def test_answer_of_the_stand_in_is_shown_as_gradios_own(folder: Path, answer: str, content: Any):
    text = f"import gradio as gr\ndef predict(message, history): return {answer}\ngr.ChatInterface(predict)\n"
    with ChatClient(load(folder, text).app) as client:
        (message,) = client.session().send("a").messages
    assert message["content"] == content


def test_packages_are_not_given_the_stand_in(folder: Path):
    packages = folder / "site-packages" / "library_of_tests.py"
    packages.parent.mkdir()
    packages.write_text("try:\n    import gradio\nexcept ImportError:\n    gradio = None\n", "utf-8")
    text = f"""
import sys
sys.path.insert(0, {str(packages.parent)!r})
import library_of_tests
def predict(message, history): return repr(library_of_tests.gradio)
"""
    assert ask(load(folder, text), "hi") == ["None"]


def test_queue_says_how_many_may_wait(folder: Path):
    text = FILES["plain"].replace(".launch()", ".queue(max_size=3).launch()")
    assert load(folder, text).app.chats["predict"].options.max_queue == 3


def test_old_gradio_that_is_installed_gives_pairs_where_nothing_says_otherwise():
    def predict(message, history): ...

    assert _decide_history(predict, None, Record("5.49.1"))[0] == "tuples"
    assert _decide_history(predict, None, Record("6.31.0"))[0] == "messages"
    assert _decide_history(predict, "messages", Record("5.49.1"))[0] == "messages"


def test_error_in_a_file_is_told_with_its_line(folder: Path):
    assert refusal(folder, "import gradio as gr\ngr.ChatInterface(1 / 0)\n") == (
        "demo.py:2: ZeroDivisionError: division by zero"
    )
