"""The @anthropic-ai/sdk package for Node.js, unmodified, over a real socket."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.node import NODE_FOLDER, run_node
from tests.support.server import serve

CLOSED = "The library is closed."
EXPECTED: dict[str, Any] = {
    "models": [["assistant", "reader"], "Reader"],
    "whole": [[{"type": "text", "text": "one two "}], "end_turn", 12, 3],
    "streamed": [["one ", "two "], "one two ", "end_turn", 12],
    "events": [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ],
    "history": [["system", "Be brief."], ["user", "say hello"], ["assistant", "hello "]],
    "thinking": ["Counting\nso many words", "3 words"],
    "thinking streamed": ["Counting\nso many words", "3 words"],
    "calls": [
        [["call_Paris", "weather", {"city": "Paris"}], ["call_Rome", "weather", {"city": "Rome"}]],
        "tool_use",
        '{"city": "Paris"}{"city": "Rome"}',
    ],
    "results": "The tools said: call_Paris!, call_Rome!",
    "runner": "The tools said: sun in Paris",
    "tokens": 14,
    "unknown model": {
        "kind": "NotFoundError",
        "status": 404,
        "type": "not_found_error",
        "message": "model: there is no chat 'claude-9'; GET /v1/models lists them",
    },
    "bad request": {
        "kind": "BadRequestError",
        "status": 400,
        "type": "invalid_request_error",
        "message": "messages.0.content.0: content blocks of type 'container_upload' cannot be read here",
    },
    "failure": {"kind": "InternalServerError", "status": 500, "type": "api_error", "message": CLOSED},
    "failure now in a stream": {"kind": "APIError", "status": None, "type": "api_error", "message": CLOSED},
    "failure later in a stream": {"kind": "APIError", "status": None, "type": "api_error", "message": CLOSED},
    "runs": [[1, 1]] * 3,
    "left": [1, 1],
}


@pytest.fixture(scope="module")
def told() -> Iterator[dict[str, Any]]:
    """What came of everything the script tried."""
    with serve("tests/clients/anthropic_app.py", "--store", "memory://") as server:
        yield dict(run_node(NODE_FOLDER / "anthropic.mjs", server.url))


@pytest.mark.parametrize("name", EXPECTED)
def test_package_gets_what_its_users_expect(told: dict[str, Any], name: str) -> None:
    assert told[name] == EXPECTED[name]
