"""The README's blocks run: its app is served, its commands print what it says, its page works in a browser."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Route

from chatserve.settings import Settings
from tests.support.asgi import serve_in_thread
from tests.support.chromium import open_page
from tests.support.documents import Commands, blocks, commands, generalize, is_as_told, serve_text
from tests.support.libraries import require
from tests.support.programs import UNMEASURED, require_program
from tests.support.server import ROOT

README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = blocks(README)
INSTALL, RUN_TESTS = (text.strip() for language, text in BLOCKS if language == "bash")
APP, *CLIENTS, INPUTS_APP = (text for language, text in BLOCKS if language == "python")
(PAGE,) = (text for language, text in BLOCKS if language == "html")
RUN, *COMMANDS = (text for language, text in BLOCKS if language == "console")


def test_every_block_of_the_readme_is_run_by_a_test_here():
    assert {language for language, _ in BLOCKS} == {"bash", "python", "html", "console"}


def test_commands_print_what_the_readme_says(tmp_path: Path):
    require_program("curl")
    with serve_text(APP, tmp_path) as server:
        runner = Commands(server, tmp_path)
        for command, told in (each for block in COMMANDS for each in commands(block)):
            assert is_as_told(told, runner.run(command, told)), command


def test_the_server_says_where_it_listens_as_in_the_readme(tmp_path: Path):
    with serve_text(APP, tmp_path) as server:
        said = server.log
    command, _, expected = RUN.partition("\n")
    assert command == "$ chatserve run app.py"
    assert generalize(said).startswith(generalize(expected).partition("\n")[0])


def test_the_app_with_inputs_answers(tmp_path: Path):
    with serve_text(INPUTS_APP, tmp_path) as server:
        assert server.ask("tea", inputs={"tokens": 20})["text"] == "20 tokens for tea"


@pytest.mark.parametrize("program", CLIENTS, ids=lambda program: program.split()[1])
def test_client_of_another_protocol_gets_the_answer(tmp_path: Path, program: str):
    require(program.split()[1])
    with serve_text(APP, tmp_path) as server:
        program = program.replace("http://localhost:8000", server.url)
        environment = os.environ | UNMEASURED
        command = [sys.executable, "-c", program]
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[0] == "You typed: Hey"
    assert set(ran.stdout.splitlines()[1:]) <= {"You typed: And now?"}


@contextmanager
def open_readme_page(folder: Path) -> Iterator[Page]:
    """Serve the app, and the page from another origin, which the app allows; open the page."""

    async def page(_request: object) -> HTMLResponse:
        return HTMLResponse(html)

    with (
        serve_in_thread(Starlette(routes=[Route("/", page)])) as origin,
        serve_text(APP, folder, "--cors-origin", origin) as server,
        open_page() as tab,
    ):
        html = PAGE.replace("http://localhost:8000", server.url)
        tab.goto(origin)
        yield tab


def test_the_page_shows_the_answer_in_a_browser(tmp_path: Path):
    with open_readme_page(tmp_path) as page:
        expect(page.locator("#answer")).to_have_text("You typed: Hello from a browser")


def test_the_stop_button_of_the_page_keeps_what_came(tmp_path: Path):
    with open_readme_page(tmp_path) as page:
        expect(page.locator("#answer")).to_contain_text("You typed: H")
        with page.expect_response(re.compile("/stop$")) as stopped:
            page.get_by_role("button", name="Stop").click()
        assert stopped.value.ok
        assert "browser" not in page.locator("#answer").inner_text()


def test_the_table_of_settings_is_that_of_the_code():
    assert "\n".join(settings_table()) in README


def settings_table() -> Iterator[str]:
    yield "| setting | default | what it is |"
    yield "| --- | --- | --- |"
    for name, field in Settings.model_fields.items():
        default = ",".join(field.default) if isinstance(field.default, tuple) else field.default
        shown = "" if default in {None, ""} else f"`{str(default).lower()}`"
        yield f"| `{name}` | {shown} | {field.description} |"


def test_the_test_command_is_there():
    assert os.access(ROOT / RUN_TESTS, os.X_OK)


@pytest.mark.skipif(not os.environ.get("CI"), reason="installs from the package registry; CI does")
@pytest.mark.timeout(300)
def test_the_first_command_installs_and_serves_on_a_fresh_checkout(tmp_path: Path):
    for name in ("chatserve", "examples", "pyproject.toml", "README.md", "LICENSE"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    environment = {key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    command = f"{INSTALL.replace('python3', sys.executable, 1)} --port 0"
    process = subprocess.Popen(
        ["bash", "-c", command],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    with process:
        try:
            assert any(re.search(r"http://127\.0\.0\.1:\d+", line) for line in process.stdout)
        finally:
            os.killpg(process.pid, signal.SIGTERM)
