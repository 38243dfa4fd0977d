"""The openai package for Node.js, its two newest majors, unmodified, over a real socket: Completions and Models."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.node import NODE_FOLDER, run_node
from tests.support.server import Server, serve

POLLS = 500
CALLS = [["call_0", "weather", '{"city": "Oslo"}'], ["call_1", "weather", '{"city": "Rome"}']]
FAILED = {"status": 500, "code": "chat_function_failed"}

EXPECTED: dict[str, Any] = {
    "models": [["assistant", "pictures", "narrow"], "pictures"],
    "whole": ["one two ", "stop", 5],
    "streamed": [["", "one ", "two ", None, None], 5, 1],
    "helper": ["one two ", "one two ", "stop"],
    "reasoning": [["so", "Hm, so.", "Hm, so."]] * 2,
    "sources": "https://example.com/a",
    "tools": ["tool_calls", CALLS, "The tools said: 0 degrees, 1 degrees"],
    "runner": "The tools said: fine in Oslo, fine in Rome",
    "runner streamed": "The tools said: fine in Oslo, fine in Rome",
    "tools of the server": False,
    "session": ["say one", "one ", "say two", "two "],
    "settings": {"temperature": 1.5, "max_tokens": 7, "max_completion_tokens": 7, "tone": "dry"},
    "pictures": "see image.png:3",
    "unknown model": {"kind": "NotFoundError", "status": 404, "code": "model_not_found"},
    "bad request": {"kind": "BadRequestError", "status": 400, "code": "inputs_invalid"},
    "failure": {"kind": "InternalServerError"} | FAILED,
    "failure shown": {"kind": "PermissionDeniedError", "status": 403, "code": "closed"},
    "failure in mid-stream": {"kind": "APIError", "status": None, "code": "chat_function_failed"},
    "failure in the helper": {"kind": "APIError", "status": None, "code": "chat_function_failed"},
    "left": True,
}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve("tests/clients/openai_app.py", "--store", "memory://") as served:
        yield served


@pytest.fixture(scope="module", params=["openai", "openai-6"])
def told(request: pytest.FixtureRequest, server: Server) -> tuple[str, dict[str, Any]]:
    """What came of everything the script tried, with one of the packages."""
    lines = run_node(NODE_FOLDER / "openai_chat.mjs", server.url, request.param)
    return request.param, dict(lines)


@pytest.mark.parametrize("name", EXPECTED)
def test_package_gets_what_is_expected(told: tuple[str, dict[str, Any]], name: str) -> None:
    assert told[1][name] == EXPECTED[name]


def test_everything_that_was_tried_is_expected(told: tuple[str, dict[str, Any]]) -> None:
    assert told[1].keys() == EXPECTED.keys()


@pytest.mark.parametrize("message", ["fail at once", "fail later", "fail later helped"])
def test_function_that_fails_is_run_once(told: tuple[str, dict[str, Any]], server: Server, message: str) -> None:
    assert runs(server, f"{message} {told[0]}")["runs"] == 1


def test_leaving_the_stream_stops_the_function(told: tuple[str, dict[str, Any]], server: Server) -> None:
    message = f"wait for {told[0]}"
    counts = (runs(server, message) for _ in range(POLLS))
    assert next(count for count in counts if count["stopped"]) == {"runs": 1, "stopped": 1}


def runs(server: Server, message: str) -> dict[str, int]:
    counted: dict[str, int] = json.loads(server.ask(f"runs {message}")["text"])
    return counted
