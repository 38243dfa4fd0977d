"""Requests that unmodified programs sent, replayed: each is answered, and the function is given what was meant.

`recorded/` has a file for each program, written from a real run against a server on loopback. Texts of more than 40
characters are replaced by their length, ids by "id", and schemas of tools have at most three properties.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chatserve.testing import ChatClient
from tests.clients.recorded_app import app

RECORDED = Path(__file__).parent / "recorded"

CITY = ("Name a city.", "s", "It is", 0)
GIVEN: dict[str, list[tuple[str, str, str | None, int]]] = {
    "ai_sdk_anthropic": [CITY, CITY],
    "ai_sdk_chat": [CITY, CITY],
    "ai_sdk_compatible": [CITY, CITY],
    "ai_sdk_responses": [CITY, CITY],
    "autogen": [("(351 characters)", "", None, 0), ("Write a line.", "s", None, 0)],
    "claude": [("(306 characters)\nName a city.", "ss", None, 24)],
    "codex": [("Name a city.", "ddu", None, 13)],
    "haystack": [CITY],
    "instructor": [("How is the weather in Oslo?", "", None, 1)],
    "langchain_js": [CITY, ("Name a city.", "", None, 0)],
    "llama_index": [("Name a city.", "", "It is", 0)],
    "llama_index_complete": [("Name a city.", "", None, 0)],
    "llm": [("Name a city.", "s", None, 0), ("Another one.", "sua", None, 0)],
}
"""For each request of a program: the message, the history's roles by their first letters, the prefill, the tools."""


@pytest.fixture(scope="module")
def client() -> Iterator[ChatClient]:
    with ChatClient(app) as served:
        yield served


def words(text: str) -> str:
    """Return the words of an answer, whole or streamed, of any of the protocols."""
    if text.startswith("{"):
        return "".join(_pieces(json.loads(text)))
    lines = (line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: {"))
    return "".join(piece for line in lines for piece in _pieces(json.loads(line)))


def _pieces(document: Any) -> Iterator[str]:
    match document:
        case {"choices": [{"delta": {"content": str(piece)}}]} | {"choices": [{"message": {"content": str(piece)}}]}:
            yield piece
        case {"object": "text_completion", "choices": [{"text": piece}]} | {
            "delta": {"type": "text_delta", "text": piece}
        }:
            yield piece
        case {"type": "response.output_text.delta", "delta": piece}:
            yield piece
        case {"object": "response", "output": [{"content": [{"text": piece}]}]}:
            yield piece
        case {"type": "message", "content": [{"text": piece}]}:
            yield piece


@pytest.mark.parametrize("program", GIVEN)
def test_request_of_a_program_is_answered_as_it_was_meant(client: ChatClient, program: str) -> None:
    requests = json.loads((RECORDED / f"{program}.json").read_text("utf-8"))
    told = []
    for request in requests:
        response = client.post(request["path"], json=request["body"], headers=request["headers"])
        assert response.status == 200, response.text
        told.append(tuple(json.loads(words(response.text))))
    assert told == GIVEN[program]


def test_every_recorded_program_is_in_the_table() -> None:
    assert {path.stem for path in RECORDED.glob("*.json")} == set(GIVEN)
