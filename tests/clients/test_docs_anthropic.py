"""The page about Anthropic's clients holds: its programs run against the application it shows, and print as told."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatserve.formats.wire.anthropic.errors import error_document
from tests.support.client_pages import PRINTED, node_programs, python_programs, run_javascript, run_python
from tests.support.documents import app_of, serve_text
from tests.support.server import ROOT, Server

PAGE = (ROOT / "docs" / "clients" / "anthropic.md").read_text("utf-8")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder: Path = tmp_path_factory.mktemp("page")
    with serve_text(app_of(PAGE), folder, "--store", "memory://") as served:
        yield served


@pytest.mark.parametrize("program", python_programs(PAGE), ids=lambda program: program.split()[1])
def test_python_program_prints_what_it_says(program: str, server: Server, tmp_path: Path) -> None:
    assert run_python(program, server, tmp_path) == (PRINTED.findall(program) or ["it says nothing"])


@pytest.mark.parametrize("program", node_programs(PAGE))
def test_node_program_prints_what_it_says(program: str, server: Server) -> None:
    assert run_javascript(program, server) == (PRINTED.findall(program) or ["it says nothing"])


def test_every_endpoint_is_told(server: Server) -> None:
    (table,) = re.findall(r"^\| method and path .*\n(?:\|.*\n)+", PAGE, re.MULTILINE)
    served = {f"{each['method']} {each['path']}" for each in server.get("/").json()["protocols"]["anthropic"]}
    assert set(re.findall(r"`([A-Z]+ /[^`]*)`", table)) == served


def test_types_of_errors_are_told() -> None:
    rows = re.findall(r"^\| (\d{3}[^|]*) \| ([^|]*) \|$", PAGE, re.MULTILINE)
    told = {}
    for statuses, types in rows:
        kinds = re.findall(r"`(\w+)`", types)
        numbers = [int(status) for status in re.findall(r"\d{3}", statuses)]
        told |= dict(zip(numbers, kinds * len(numbers) if len(kinds) == 1 else kinds, strict=False))
    assert len(told) > 10
    assert {status: error_document(status, "", {}, "")["error"]["type"] for status in told} == told


def test_links_of_the_page_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)\s#]+)", PAGE):
        assert (ROOT / "docs" / "clients" / target).exists(), target
