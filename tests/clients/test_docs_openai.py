"""The page about OpenAI's clients holds: its programs run against the application it shows, and print what they say."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.documents import ADDRESS, app_of, blocks, serve_text
from tests.support.environments import require_environment
from tests.support.libraries import require
from tests.support.node import NODE_FOLDER, require_node
from tests.support.server import ROOT, Server

PAGE = (ROOT / "docs" / "clients" / "openai.md").read_text("utf-8")
APP, *PROGRAMS = [text for language, text in blocks(PAGE) if language == "python"]
NODE_PROGRAMS = [text for language, text in blocks(PAGE) if language == "js"]
PRINTED = re.compile(r"(?:^print|console\.log)\(.*\);?  ?(?:#|//) (.*)$", re.MULTILINE)
IMPORTED = re.compile(r"^(?:from|import) (\w+)", re.MULTILINE)
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
        env={**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.split()[1])
def test_python_program_prints_what_it_says(program: str, server: Server, tmp_path: Path) -> None:
    printed = PRINTED.findall(program)
    assert printed
    assert run([_python_for(program), "-c"], program, server, tmp_path) == printed


def _python_for(program: str) -> str:
    modules = IMPORTED.findall(program)
    if "litellm" in modules:
        return str(require_environment("litellm"))
    for module in modules:
        require(module)
    return sys.executable


@pytest.mark.parametrize("program", NODE_PROGRAMS)
def test_node_program_prints_what_it_says(program: str, server: Server) -> None:
    command = [require_node(), "--input-type=module", "--eval"]
    assert run(command, program, server, NODE_FOLDER) == PRINTED.findall(program)


def test_every_endpoint_is_told(server: Server) -> None:
    (table,) = re.findall(r"^\| method and path .*\n(?:\|.*\n)+", PAGE, re.MULTILINE)
    told = set(re.findall(r"`([A-Z]+ /[^`]*)`", table))
    served = {f"{each['method']} {each['path']}" for each in server.get("/").json()["protocols"]["openai_chat"]}
    assert told == {endpoint for endpoint in served if " /v1/" in endpoint}


def test_links_of_the_page_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)\s#]+)", PAGE):
        assert (ROOT / "docs" / "clients" / target).exists(), target
