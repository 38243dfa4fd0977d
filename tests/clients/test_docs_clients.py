"""The pages about clients hold: their programs run against the application they show, and print what they say."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import TypeAlias

import pytest

from chatserve.formats.wire.anthropic.errors import error_document
from tests.support.client_pages import (
    client_page,
    endpoints_served,
    endpoints_told,
    node_programs,
    printed_by,
    python_programs,
    run_javascript,
    run_python,
)
from tests.support.documents import Commands, app_of, blocks, commands, is_as_told, serve_text
from tests.support.programs import require_program
from tests.support.server import Server

PAGES = {name: client_page(name) for name in ("anthropic", "gradio", "openai", "responses")}
CONVERSATION = ["user Four", "assistant You said 'Four' after 0 messages."]
"""What the loop prints that ends the program about conversations."""

Served: TypeAlias = Callable[[str], Server]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Give the server of a page's application, which is started once."""
    with ExitStack() as servers:

        @cache
        def server_of(name: str) -> Server:
            folder = tmp_path_factory.mktemp(name)
            return servers.enter_context(serve_text(app_of(PAGES[name]), folder, "--store", "memory://"))

        yield server_of


def on_each_page(programs_of: Callable[[str], list[str]]) -> pytest.MarkDecorator:
    programs = [
        pytest.param(name, program, id=f"{name}-{number}")
        for name, page in PAGES.items()
        for number, program in enumerate(programs_of(page))
    ]
    return pytest.mark.parametrize(("page", "program"), programs)


@on_each_page(python_programs)
def test_python_program_prints_what_it_says(page: str, program: str, served: Served, tmp_path: Path) -> None:
    expected = printed_by(program) + (CONVERSATION if "client.conversations" in program else [])
    assert run_python(program, served(page), tmp_path) == expected


@on_each_page(node_programs)
def test_node_program_prints_what_it_says(page: str, program: str, served: Served) -> None:
    assert run_javascript(program, served(page)) == printed_by(program)


@pytest.mark.parametrize(
    ("page", "format_name"), [("anthropic", "anthropic"), ("openai", "openai_chat"), ("responses", "openai_responses")]
)
def test_every_endpoint_is_told(page: str, format_name: str, served: Served) -> None:
    assert endpoints_told(PAGES[page]) == endpoints_served(served(page), format_name)


def test_commands_of_the_page_about_gradio_print_what_they_say(served: Served, tmp_path: Path) -> None:
    require_program("curl")
    runner = Commands(served("gradio"), tmp_path)
    for language, block in blocks(PAGES["gradio"]):
        for command, told in commands(block) if language == "console" else ():
            printed = runner.run(command, told)
            assert is_as_told(told, printed), f"{command}\n{printed}"


def test_types_of_anthropics_errors_are_told() -> None:
    rows = re.findall(r"^\| (\d{3}[^|]*) \| ([^|]*) \|$", PAGES["anthropic"], re.MULTILINE)
    told: dict[int, str] = {}
    for statuses, types in rows:
        kinds = re.findall(r"`(\w+)`", types)
        numbers = [int(status) for status in re.findall(r"\d{3}", statuses)]
        told |= dict(zip(numbers, kinds * len(numbers) if len(kinds) == 1 else kinds, strict=False))
    assert len(told) > 10
    assert {status: error_document(status, "", {}, "")["error"]["type"] for status in told} == told
