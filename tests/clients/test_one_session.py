"""One session, many clients: every protocol reads and continues the same history."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.chromium import open_page
from tests.support.documents import serve_text
from tests.support.libraries import require
from tests.support.programs import require_program
from tests.support.server import Server

for library in ("openai", "gradio_client", "anthropic", "playwright"):
    require(library)

APP = """
from chatserve import ChatServer

app = ChatServer()


@app.chat
def predict(message, history):
    said = f"{len(history)} before: {message}"
    for end in range(1, len(said) + 1):
        yield said[:end]
"""

WATCH = """path => {
    window.done = [];
    const source = new EventSource(path);
    source.addEventListener("done", event => window.done.push(JSON.parse(event.data).messages[0].content));
    return new Promise(resolve => { source.onopen = () => resolve(true); });
}"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serve_text(APP, tmp_path) as served:
        yield served


def test_turns_of_all_clients_make_one_history(server: Server) -> None:
    from anthropic import Anthropic
    from gradio_client import Client
    from openai import OpenAI

    curl = require_program("curl")
    session_id = server.post("/sessions").json()["session_id"]
    openai = OpenAI(base_url=f"{server.url}/v1", api_key="none")
    with open_page() as page:
        url = f"{server.url}/watching"  # a page of the same origin; the server's own may open no connections
        page.route(url, lambda route: route.fulfill(body="<p>page</p>", content_type="text/html"))
        page.goto(url)
        page.evaluate(WATCH, f"/sessions/{session_id}/events?after=0")

        asked: Any = [{"role": "user", "content": "chat completions"}]
        with openai.chat.completions.stream(
            model="predict", messages=asked, extra_headers={"X-Session-Id": session_id}
        ) as stream:
            first = stream.get_final_completion().choices[0].message.content
        assert first == "0 before: chat completions"

        body = json.dumps({"message": "curl", "session_id": session_id})
        command = [curl, "-sS", f"{server.url}/chat", "-H", "Content-Type: application/json", "-d", body]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
        assert json.loads(ran.stdout)["text"] == "2 before: curl"

        gradio = Client(server.url, verbose=False)
        gradio.session_hash = session_id
        assert gradio.predict("gradio_client", api_name="/chat") == "4 before: gradio_client"
        gradio.close()

        conversation = session_id.replace("s_", "conv_", 1)
        response = openai.responses.create(model="predict", input="responses", conversation=conversation)
        assert response.output_text == "6 before: responses"

        told: Any = [{"role": each["role"], "content": each["content"]} for each in _history(server, session_id)]
        anthropic = Anthropic(base_url=server.url, api_key="none", default_headers={"X-Session-Id": session_id})
        message = anthropic.messages.create(
            model="predict",
            max_tokens=100,
            messages=[*told, {"role": "user", "content": "last"}],
        )
        assert message.content[0].text == "8 before: last"
        page.wait_for_function("window.done.length === 5")
        watched = page.evaluate("window.done")

    history = _history(server, session_id)
    assert [entry["content"] for entry in history if entry["role"] == "assistant"] == watched
    assert [entry["content"] for entry in history if entry["role"] == "user"] == [
        "chat completions",
        "curl",
        "gradio_client",
        "responses",
        "last",
    ]
    assert len({entry["message_id"] for entry in history}) == 10


def _history(server: Server, session_id: str) -> list[dict[str, str]]:
    items: list[dict[str, str]] = server.get(f"/sessions/{session_id}/messages").json()["items"]
    return items
