"""The README's blocks run: its app is served, its commands print what it says, its client gets answers."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.documents import Commands, blocks, commands, generalize, is_as_told, serve_text
from tests.support.libraries import require
from tests.support.programs import UNMEASURED, require_program
from tests.support.server import ROOT

README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = blocks(README)
INSTALL, RUN_TESTS = (text.strip() for language, text in BLOCKS if language == "bash")
APP, INPUTS_APP, *CLIENTS = (text for language, text in BLOCKS if language == "python")
RUN, *COMMANDS = (text for language, text in BLOCKS if language == "console")


def test_every_block_of_the_readme_is_run_by_a_test_here():
    assert {language for language, _ in BLOCKS} == {"bash", "python", "console"}


def test_commands_print_what_the_readme_says(tmp_path: Path):
    require_program("curl")
    with serve_text(APP, tmp_path) as server:
        runner = Commands(server, tmp_path)
        for command, told in (each for block in COMMANDS for each in commands(block)):
            assert is_as_told(told, runner.run(command, told)), command


def test_the_server_says_where_it_listens_as_in_the_readme(tmp_path: Path):
    with serve_text(APP, tmp_path) as server:
        server.wait_for_log("Ctrl+C")
        said = server.log
    command, _, expected = RUN.partition("\n")
    assert command == "$ chatserve run app.py"
    assert generalize(said) == generalize(expected)


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
    assert ran.stdout.splitlines() == ["You typed: Hey"]


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
