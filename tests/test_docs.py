"""The pages of documentation hold: their programs run, their commands print what they say, and nothing is left out."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from playwright.sync_api import Page, expect
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Route

import chatserve
from chatserve import ChatServer
from chatserve.chat_function import ChatOptions
from chatserve.cli.commands import dev, run
from chatserve.core.errors import ChatError, ChatserveError
from chatserve.core.events import EVENT_NAMES
from chatserve.routes.openapi.schemas import event_schema_name
from chatserve.settings import Settings
from chatserve.testing import ChatClient
from tests.support.asgi import serve_in_thread
from tests.support.chromium import open_page
from tests.support.documents import Commands, app_of, blocks, commands, is_as_told, serve_text
from tests.support.http import address_of
from tests.support.programs import require_program
from tests.support.proxy import Fault, proxy_in_thread
from tests.support.server import ROOT
from tests.support.sse import read_events

PACKAGE = Path(chatserve.__file__).parent
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = sorted([*ROOT.glob("*.md"), *DOCS])
FUNCTIONS, HTTP, STREAM, ERRORS, CONFIGURATION, TESTING = (
    (ROOT / "docs" / f"{name}.md").read_text("utf-8")
    for name in ("functions", "http", "stream", "errors", "configuration", "testing")
)
README, CONTRIBUTING = ((ROOT / f"{name}.md").read_text("utf-8") for name in ("README", "CONTRIBUTING"))
FUNCTION_BLOCKS = [text for language, text in blocks(FUNCTIONS) if language == "python"]

TYPED = """
import time

from chatserve import ChatServer

app = ChatServer()


@app.chat
def predict(message, history):
    for end in range(1, len(message) + 1):
        time.sleep(0.02)
        yield "You typed: " + message[:end]
"""


# --- links -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    text = page.read_text("utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http:", "https:")):
            continue
        name, _, anchor = target.partition("#")
        linked = page.parent / name if name else page
        assert linked.exists(), target
        assert not anchor or anchor in _anchors(linked), target


def _anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_readme_leads_to_every_page(page: Path) -> None:
    assert f"]({page.relative_to(ROOT)})" in README


# --- nothing is left out ---------------------------------------------------------------------------------------------


def test_table_of_settings_is_that_of_the_code() -> None:
    assert "\n".join(_settings_table()) in CONFIGURATION


def _settings_table() -> Iterator[str]:
    yield "| setting | default | what it is |"
    yield "| --- | --- | --- |"
    for name, field in Settings.model_fields.items():
        default = ",".join(field.default) if isinstance(field.default, tuple) else field.default
        shown = "" if default in {None, ""} else f"`{str(default).lower()}`"
        yield f"| `{name}` | {shown} | {field.description} |"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_setting_has_a_note_besides_its_row(name: str) -> None:
    assert f"`{name}`" in CONFIGURATION.partition("### Notes")[2]


@pytest.mark.parametrize("command", [run, dev], ids=lambda command: command.name)
def test_option_of_a_command_is_described(command: Any) -> None:
    for option in command.params:
        if option.param_type_name == "option" and option.name not in Settings.model_fields:
            assert re.search(rf"^\| `{option.opts[0]}`.*`{option.envvar}`", CONFIGURATION, re.MULTILINE), option.opts


@pytest.mark.parametrize("name", ChatOptions.model_fields)
def test_option_of_a_chat_is_described(name: str) -> None:
    assert re.search(rf"^\| .*`{name}`.* \|", FUNCTIONS.partition("## Options")[2], re.MULTILINE)


def test_endpoints_of_the_document_are_those_of_the_page() -> None:
    with ChatClient(lambda message, history: None) as client:
        paths = client.get("/openapi.json").json["paths"]
    served = {f"{method.upper()} {path}" for path, operations in paths.items() for method in operations}
    served = {re.sub(r"/chat/.+", "/chat/{chat}", endpoint) for endpoint in served}
    table = HTTP.partition("| method and path |")[2].partition("\n\n")[0]
    assert set(re.findall(r"`([A-Z]+ /[^`]*)`", table)) == served


@pytest.mark.parametrize("method_path", ["POST /chat", "POST /sessions", "POST /sessions/{session_id}/retry"])
def test_fields_of_a_body_are_described(method_path: str) -> None:
    with ChatClient(lambda message, history: None) as client:
        document = client.get("/openapi.json").json
    method, path = method_path.split()
    schema = document["paths"][path][method.lower()]["requestBody"]["content"]["application/json"]["schema"]
    schema = document["components"]["schemas"].get(schema.get("$ref", "").rpartition("/")[2], schema)
    assert schema["properties"]
    for name in schema["properties"]:
        assert f"`{name}`" in HTTP, name


@pytest.mark.parametrize(
    ("row", "schema"),
    [(name.lower(), name) for name in ("Session", "Turn", "Message", "Feedback", "Usage")]
    + [("text", "TextPart"), ("reasoning", "ReasoningPart"), ("file", "FilePart"), ("data", "DataPart")]
    + [("source", "SourcePart"), ("tool_call", "ToolCallPart"), ("tool_result", "ToolResultPart")],
)
def test_fields_of_an_object_are_those_of_the_document(row: str, schema: str) -> None:
    with ChatClient(lambda message, history: None) as client:
        document = client.get("/openapi.json").json["components"]["schemas"][schema]
    table = HTTP.partition("### Sessions, messages and parts")[2].partition("\n## ")[0]
    (fields,) = (
        cells for name, cells in re.findall(r"^\| (.*?) \| (.*) \|$", table, re.MULTILINE) if row in _words(name)
    )
    told = dict(re.findall(r"`(\w+)`(\??)", fields))
    optional = document["properties"].keys() - document["required"]
    assert told.keys() | {"type"} == document["properties"].keys() | {"type"}
    assert {name for name, mark in told.items() if mark} == optional


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text))


def _error_codes() -> Iterator[tuple[str, int | None]]:
    """Yield each code with its status: those of all errors, and those that sources give turns by name."""
    waiting = [ChatserveError]
    while waiting:
        error = waiting.pop()
        waiting += error.__subclasses__()
        yield error.code, None if error.code == "configuration_error" else error.status_code
    yield ChatError("").code, ChatError("").status_code
    for source in PACKAGE.rglob("*.py"):
        for code in re.findall(r"TurnError\(\s*\"(\w+)\"", source.read_text("utf-8")):
            yield code, 504 if code == "turn_timeout" else None


def test_codes_of_the_engine_are_found_in_its_sources() -> None:
    assert {"turn_timeout", "body_timeout", "internal_error"} <= {code for code, _ in _error_codes()}


def test_error_codes_are_described_with_their_status() -> None:
    rows = dict(re.findall(r"^\| `(\w+)`[^|]*\| ([^|]*) \|", ERRORS, re.MULTILINE))
    for code, status in _error_codes():
        assert code in rows, code
        assert status is None or rows[code].startswith(str(status)), code
    assert rows.keys() == {code for code, _ in _error_codes()}


# --- the stream ------------------------------------------------------------------------------------------------------


def test_events_of_the_page_are_as_the_document_describes_them() -> None:
    with ChatClient(lambda message, history: None) as client:
        components = client.get("/openapi.json").json["components"]
    (told,) = (text for language, text in blocks(STREAM) if language == "sse")
    events = list(read_events(told.split("\n")))
    for event in events:
        schema = {"$ref": f"#/components/schemas/{event_schema_name(event.event)}", "components": components}
        Draft202012Validator(schema).validate(json.loads(event.data))
    assert {event.event for event in events} == set(EVENT_NAMES.values())


@pytest.mark.parametrize("name", EVENT_NAMES.values())
def test_event_has_a_row(name: str) -> None:
    assert re.search(rf"^\| `{name}` \|", STREAM, re.MULTILINE)


def test_python_client_of_the_page_sees_every_event_once_over_cut_connections(tmp_path: Path) -> None:
    (client,) = (text for language, text in blocks(STREAM) if language == "python")
    names: dict[str, Any] = {}
    exec(compile(client, "docs/stream.md", "exec"), names)
    slept: list[float] = []
    names["time"] = SimpleNamespace(sleep=slept.append)
    with serve_text(TYPED, tmp_path) as server, proxy_in_thread(address_of(server.url)) as proxy:
        proxy.proxy.faults.extend([Fault(700, "reset"), Fault(300, "close")])
        accepted = server.post("/chat", {"message": "Hello there"}, headers={"Prefer": "respond-async"}).json()
        events = list(names["follow"](f"{proxy.proxy.url}/turns/{accepted['turn_id']}/events"))
    assert proxy.proxy.cuts == 2
    assert [name for name, _ in events][:2] == ["turn", "message"]
    assert "".join(data["text"] for name, data in events if name == "delta") == "You typed: Hello there"
    assert events[-1][1]["status"] == "completed"
    assert slept
    assert all(1 <= seconds <= 3 for seconds in slept)


@contextmanager
def open_stream_page(heading: str, folder: Path, app: str = TYPED) -> Iterator[Page]:
    """Serve the app, and from another origin, which the app allows, the page below a heading; open it."""
    page = next(text for language, text in blocks(STREAM.partition(heading)[2]) if language == "html")

    async def show(_request: object) -> HTMLResponse:
        return HTMLResponse(page.replace("http://localhost:8000", server.url))

    with (
        serve_in_thread(Starlette(routes=[Route("/", show)])) as origin,
        serve_text(app, folder, "--cors-origin", origin) as server,
        open_page() as tab,
    ):
        tab.goto(origin)
        yield tab


def test_every_page_of_the_page_is_opened_here() -> None:
    assert [language for language, _ in blocks(STREAM)].count("html") == 2


def test_page_with_one_turn_shows_the_answer(tmp_path: Path) -> None:
    with open_stream_page("### One turn", tmp_path) as tab:
        expect(tab.locator("#answer")).to_have_text("You typed: Hello from a browser")


def test_stop_button_of_the_page_with_one_turn_keeps_what_came(tmp_path: Path) -> None:
    with open_stream_page("### One turn", tmp_path, TYPED.replace("0.02", "0.1")) as tab:
        expect(tab.locator("#answer")).to_contain_text("You typed: H")
        with tab.expect_response(re.compile("/stop$")) as stopped:
            tab.get_by_role("button", name="Stop").click()
        assert stopped.value.ok
        assert "browser" not in tab.locator("#answer").inner_text()


def test_page_with_a_session_shows_it_over_a_reload(tmp_path: Path) -> None:
    with open_stream_page("### A session", tmp_path) as tab:
        tab.locator("#field").fill("Hello")
        tab.locator("#field").press("Enter")
        expect(tab.locator("#chat")).to_have_text("> Hello\nYou typed: Hello\n")
        tab.reload()
        expect(tab.locator("#chat")).to_have_text("> Hello\nYou typed: Hello\n")


# --- programs and commands -------------------------------------------------------------------------------------------


def test_commands_of_the_page_print_what_it_says(tmp_path: Path) -> None:
    require_program("curl")
    with serve_text(app_of(HTTP), tmp_path) as server:
        runner = Commands(server, tmp_path)
        for language, text in blocks(HTTP):
            for command, told in commands(text) if language == "console" else ():
                printed = runner.run(command, told)
                assert is_as_told(told, printed), f"{command}\nprinted {printed}"


@pytest.mark.parametrize("number", range(len(FUNCTION_BLOCKS)))
def test_program_of_the_page_answers(number: int) -> None:
    source = FUNCTION_BLOCKS[number]
    tree = ast.parse(source)
    imported = {node.module.partition(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    if "openai" in imported:
        compile(source, "docs/functions.md", "exec")
        return  # it needs a model; tests/examples asks one that does the same
    names: dict[str, Any] = {"__name__": "program"}
    exec(compile(source, "docs/functions.md", "exec"), names)
    app = names["app"]
    assert isinstance(app, ChatServer)
    with ChatClient(app) as client:
        for chat in app.chats:
            turn = client.session(chat=chat).send("Hello")
            assert (turn.status, bool(turn.text)) == ("completed", True), turn.error


def test_snapshots_and_deltas_of_the_page_look_the_same_to_clients() -> None:
    (source,) = (each for each in FUNCTION_BLOCKS if "def deltas" in each)
    names: dict[str, Any] = {}
    exec(compile(source, "docs/functions.md", "exec"), names)
    with ChatClient(names["app"]) as client:
        turns = [client.session(chat=chat).send("x") for chat in ("snapshots", "deltas")]
    said = [[event.value["text"] for event in turn.events if event.name == "delta"] for turn in turns]
    assert ["".join(deltas) for deltas in said] == ["You typed"] * 2
    assert not any(event.name == "replace" for turn in turns for event in turn.events)


def test_tests_of_the_page_pass(tmp_path: Path) -> None:
    (source,) = (text for language, text in blocks(TESTING) if language == "python")
    (tmp_path / "test_page.py").write_text(source, "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_page.py"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


# --- for contributors ------------------------------------------------------------------------------------------------


def test_tree_of_contributing_is_that_of_the_package() -> None:
    (tree,) = (text for _, text in blocks(CONTRIBUTING) if text.startswith("chatserve/\n"))
    lines = re.findall(r"^  (\S.*?)(?:  .*)?$", tree, re.MULTILINE)
    told = {name.strip("/ ") for line in lines for name in line.split(",")}
    modules = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert told == {name for name in modules if not name.startswith("__")}


def test_source_distribution_has_all_that_is_documented() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    included = project["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    assert all((ROOT / name.lstrip("/")).exists() for name in included)
    pages = {f"/{page.name}" for page in ROOT.glob("*.md")}
    assert pages | {"/docs", "/scripts", "/Dockerfile", "/LICENSE", "/examples", "/tests", "/benchmarks"} <= set(
        included
    )
