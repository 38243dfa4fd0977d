"""The page about Responses holds: its programs run against the application it shows, and print what they say."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.documents import ADDRESS, app_of, blocks, serve_text
from tests.support.libraries import require
from tests.support.node import NODE_FOLDER, require_node
from tests.support.server import ROOT, Server

PAGE = (ROOT / "docs" / "clients" / "responses.md").read_text("utf-8")
APP, *PROGRAMS = [text for language, text in blocks(PAGE) if language == "python"]
NODE_PROGRAMS = [text for language, text in blocks(PAGE) if language == "js"]
PRINTED = re.compile(r"^(?:print|console\.log)\(.*\);?  ?(?:#|//) (.*)$", re.MULTILINE)
IMPORTED = re.compile(r"^(?:from|import) (\w+)", re.MULTILINE)
CONVERSATION = ["user Four", "assistant You said 'Four' after 0 messages."]
RUN_TIMEOUT_S = 50


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder: Path = tmp_path_factory.mktemp("page")
    with serve_text(app_of(PAGE), folder, "--store", "memory://") as served:
        yield served


def run(command: list[str], source: str, server: Server, folder: Path) -> list[str]:
    """Run a program of the page against the server; return the lines it printed."""
    done = subprocess.run(
        [*command, source.replace(f"http://{ADDRESS}", server.url)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("program", PROGRAMS, ids=range(len(PROGRAMS)))
def test_python_program_prints_what_it_says(program: str, server: Server, tmp_path: Path) -> None:
    for module in IMPORTED.findall(program):
        require(module)
    expected = PRINTED.findall(program) + (CONVERSATION if "conversations" in program else [])
    assert expected
    assert run([sys.executable, "-c"], program, server, tmp_path) == expected


@pytest.mark.parametrize("program", NODE_PROGRAMS, ids=range(len(NODE_PROGRAMS)))
def test_node_program_prints_what_it_says(program: str, server: Server) -> None:
    command = [require_node(), "--input-type=module", "--eval"]
    assert run(command, program, server, NODE_FOLDER) == PRINTED.findall(program)


def test_every_endpoint_is_told(server: Server) -> None:
    told = set(re.findall(r"^\| `([A-Z]+ /[^`]*)`", PAGE, re.MULTILINE))
    served = {f"{each['method']} {each['path']}" for each in server.get("/").json()["protocols"]["openai_responses"]}
    assert told == {endpoint for endpoint in served if " /v1/" in endpoint}
