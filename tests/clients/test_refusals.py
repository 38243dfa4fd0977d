"""Refused requests of unmodified clients: each shows the reason to its person, whatever was wrong."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.environments import run_in
from tests.support.libraries import require
from tests.support.node import NODE_FOLDER, run_node
from tests.support.server import Server, serve

DRIVER = Path(__file__).with_name("refusals_driver.py")
CLIENTS = ("openai", "anthropic", "llm", "ai chat", "ai responses", "ai anthropic")

CASES: dict[str, tuple[dict[str, Any], str]] = {
    "unknown model": ({"model": "gpt-4o"}, "'gpt-4o'"),
    "no prefix": ({"base_url": "{url}"}, "the path to use is POST /v1/"),
    "prefix twice": ({"base_url": "{url}/v1/v1"}, "the path to use is POST /v1/"),
    "another prefix": ({"base_url": "{url}/api/v1"}, "the path to use is POST /v1/"),
    "refused host": ({"base_url": "{localhost}/v1"}, "the host 'localhost"),
    "refused origin": ({"headers": {"Origin": "http://elsewhere.example"}}, "http://elsewhere.example"),
    "wrong input": ({"temperature": 0.95}, "less than or equal to 0.9"),
    "refused by the validator": ({"prompt": "you are stupid"}, "please be polite"),
    "too long": ({"prompt": "long " * 400}, "longer than 1000 bytes"),
    "refused by the function": ({"prompt": "refuse"}, "the library is closed today"),
    "refused with a status": ({"prompt": "tell"}, "ask again tomorrow"),
    "failed function": ({"prompt": "fail"}, "the chat function failed"),
    "nothing wrong": ({}, "answered"),
}
"""What differs from a request that is answered, and what the person must see."""

OTHERWISE: dict[tuple[str, str], str] = {("anthropic", "no prefix"): "answered"}
"""Clients to which a case is no mistake: Anthropic's add the prefix themselves."""

MISDIRECTED: Final = "Request body length does not match"
"""What Node.js may show of a refused host: its fetch repeats what is answered with 421, and may lose the body."""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    options = ("--store", "memory://", "--allowed-host", "127.0.0.1", "--max-message-bytes", "1000")
    with serve("tests/clients/refusals_app.py", *options) as served:
        yield served


def cases_for(server: Server) -> list[dict[str, Any]]:
    usual = {"base_url": "{url}/v1", "headers": {}, "model": "strict", "prompt": "hi", "temperature": 0.5}
    places = {"url": server.url, "localhost": server.url.replace("127.0.0.1", "localhost")}
    cases: list[dict[str, Any]] = [usual | differs for differs, _ in CASES.values()]
    return [case | {"base_url": case["base_url"].format(**places)} for case in cases]


def shown_by(client: str, cases: Path) -> list[Any]:
    """Return what a client shows of each case."""
    if client.startswith("ai "):
        return run_node(NODE_FOLDER / "refusals.mjs", client.removeprefix("ai "), str(cases))
    if client == "llm":
        return run_in("llm", DRIVER, client, str(cases))
    require(client)
    command = [sys.executable, str(DRIVER), client, str(cases)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return [json.loads(line) for line in ran.stdout.splitlines()]


@pytest.mark.parametrize("client", CLIENTS)
def test_client_shows_why_it_is_refused(client: str, server: Server, tmp_path: Path) -> None:
    cases = tmp_path / "cases.json"
    cases.write_text(json.dumps(cases_for(server)))
    shown = dict(zip(CASES, shown_by(client, cases), strict=True))
    for name, (_, reason) in CASES.items():
        is_lost = name == "refused host" and client.startswith("ai ") and MISDIRECTED in shown[name]
        assert OTHERWISE.get((client, name), reason) in shown[name] or is_lost, (name, shown[name])
        assert "a secret" not in shown[name]
