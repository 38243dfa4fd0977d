"""LiteLLM, unmodified, over a real socket: an OpenAI-compatible endpoint as one of its models."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.environments import run_in
from tests.support.server import Server, serve

CALLS = [["call_0", "weather", '{"city": "Oslo"}'], ["call_1", "weather", '{"city": "Rome"}']]

EXPECTED: dict[str, Any] = {
    "whole": ["one two ", "stop", 5],
    "streamed": ["one two ", 5],
    "reasoning": ["Hm, so.", "Hm, so."],
    "calls": ["tool_calls", CALLS],
    "streamed_calls": ["tool_calls", CALLS],
    "unknown_model": "NotFoundError",
    "failure": "InternalServerError",
    "failure_in_mid_stream": "MidStreamFallbackError",
}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve("tests/clients/openai_app.py", "--store", "memory://") as served:
        yield served


@pytest.fixture(scope="module")
def told(server: Server) -> dict[str, Any]:
    """What came of everything the driver tried."""
    lines = run_in("litellm", Path(__file__).with_name("litellm_driver.py"), server.url)
    return dict(line for line in lines if isinstance(line, list))


@pytest.mark.parametrize("name", EXPECTED)
def test_package_gets_what_is_expected(told: dict[str, Any], name: str) -> None:
    assert told[name] == EXPECTED[name]


@pytest.mark.parametrize("message", ["fail at once", "fail later on"])
def test_function_that_fails_is_run_once(told: dict[str, Any], server: Server, message: str) -> None:
    assert json.loads(server.ask(f"runs {message}")["text"])["runs"] == 1
