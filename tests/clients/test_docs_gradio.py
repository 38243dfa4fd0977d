"""The page about Gradio's clients holds: its programs and commands run, and print what they say."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.documents import ADDRESS, Commands, app_of, blocks, commands, is_as_told, serve_text
from tests.support.libraries import require
from tests.support.node import NODE_FOLDER, require_node
from tests.support.programs import require_program
from tests.support.server import ROOT, Server

PAGE = (ROOT / "docs" / "clients" / "gradio.md").read_text("utf-8")
APP, *PROGRAMS = [text for language, text in blocks(PAGE) if language == "python"]
NODE_PROGRAMS = [text for language, text in blocks(PAGE) if language == "js"]
PRINTED = re.compile(r"^(?:print|console\.log)\(.*\);?  ?(?:#|//) (.*)$", re.MULTILINE)
RUN_TIMEOUT_S = 50


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve_text(app_of(PAGE), tmp_path_factory.mktemp("page"), "--store", "memory://") as served:
        yield served


def run(command: list[str], source: str, server: Server, folder: Path) -> list[str]:
    """Run a program of the page against the server to its end; return the lines it printed."""
    source = source.replace(f"http://{ADDRESS}", server.url)
    done = subprocess.run(
        [*command, source], cwd=folder, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("program", PROGRAMS, ids=["client", "session"])
def test_python_program_prints_what_it_says(program: str, server: Server, tmp_path: Path) -> None:
    require("gradio_client")
    printed = PRINTED.findall(program)
    assert printed
    assert run([sys.executable, "-c"], program, server, tmp_path) == printed


@pytest.mark.parametrize("program", NODE_PROGRAMS, ids=["client"])
def test_node_program_prints_what_it_says(program: str, server: Server) -> None:
    command = [require_node(), "--input-type=module", "--eval"]
    assert run(command, program, server, NODE_FOLDER) == PRINTED.findall(program)


def test_commands_print_what_they_say(server: Server, tmp_path: Path) -> None:
    require_program("curl")
    runner = Commands(server, tmp_path)
    for language, block in blocks(PAGE):
        for command, told in commands(block) if language == "console" else ():
            printed = runner.run(command, told)
            assert is_as_told(told, printed), f"{command}\n{printed}"
