"""What tests of the openai package's Responses do again and again: ask, look at the history, wait for a status."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.libraries import require
from tests.support.server import Server

openai = require("openai")

APP = "tests/clients/responses_app.py"
POLLS = 1000


def client_of(server: Server, prefix: str = "/v1") -> Any:
    return openai.OpenAI(base_url=server.url + prefix, api_key="any", max_retries=2, timeout=30)


def ask(client: Any, message: Any, **options: Any) -> Any:
    return client.responses.create(model="assistant", input=message, **options)


def history_of(client: Any, **options: Any) -> list[list[str]]:
    """Return what the chat function is given as its history."""
    told: list[list[str]] = json.loads(ask(client, "history", **options).output_text)
    return told


def poll(client: Any, response_id: str, *statuses: str) -> Any:
    """Ask for a response until it has one of these statuses."""
    for _ in range(POLLS):
        response = client.responses.retrieve(response_id)
        if response.status in statuses:
            return response
    pytest.fail(f"{response_id} is still {response.status}")


def go(folder: Path) -> None:
    (folder / "go").touch()
