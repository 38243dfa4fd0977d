"""The openai package for Node.js in two major versions, unmodified, over a real socket: Responses, Conversations."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.node import NODE_FOLDER, run_node
from tests.support.server import serve

EXPECTED = {
    "created": ["completed", "héllo wörld", 5, {"a": "b"}],
    "retrieved": True,
    "types": [
        f"response.{name}"
        for name in (
            *("created", "in_progress", "output_item.added", "content_part.added", "output_text.delta"),
            *("output_text.delta", "output_text.done", "content_part.done", "output_item.done", "completed"),
        )
    ],
    "helper": [["one", " two", " three"], ["message"], "one two three", "completed"],
    "thinking": [["42"], ["reasoning", "message"], "42", "completed"],
    "server tool": [["It is warm."], ["mcp_call", "message"], "It is warm.", "completed"],
    "data": [['{"verdict":"it","weight":3}'], ["message"], '{"verdict":"it","weight":3}', "completed"],
    "sources": [["rain"], ["message"], "rain", "completed"],
    "pieces": ["function_call", "function_call"],
    "cut": [["short"], ["message"], "short", "incomplete"],
    "tools": "The tools said: sun",
    "history": [["user", "say héllo wörld"], ["assistant", "héllo wörld"]],
    "conversation": ["user", "assistant"],
    "polled": "in_progress",
    "resumed": list(range(10)),
    "helped": ["one two three", True],
    "cancelled": "cancelled",
    "gone": [404, "response_not_found"],
    "model": [404, "model_not_found"],
    "previous": [400, "previous_response_not_found"],
    "failed": [500, "chat_function_failed"],
    "failed late": ["failed", "chat_function_failed"],
    "runs": "1",
}


@pytest.mark.parametrize("package", ["openai", "openai-6"])
def test_responses_work_in_node(package: str, tmp_path: Path) -> None:
    told: dict[str, Any] = {}
    with serve("tests/clients/responses_app.py", "--store", "memory://") as server:
        for line in run_node(NODE_FOLDER / "openai_responses.mjs", server.url, str(tmp_path), package):
            told |= line
    assert told == EXPECTED
