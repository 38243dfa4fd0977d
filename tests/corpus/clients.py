"""Clients that take the turns of a conversation with a served chat: natively, and with the packages of two protocols.

Each turn gives what the client has got: words, None, a list or data, or `Failure` if it was refused or failed.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
from gradio_client import Client
from gradio_client.exceptions import AppError
from openai import APIStatusError, OpenAI

TIMEOUT_S = 20


@dataclass(frozen=True)
class Failure:
    """What a client is told of a turn that was refused or failed."""

    code: str
    text: str


def ask_natively(url: str, said: Any, inputs: Mapping[str, Any]) -> Iterator[Any]:
    """Give the answer document of each turn, with the session's messages."""
    with httpx2.Client(base_url=url, timeout=TIMEOUT_S, verify=False) as http:
        session = http.post("/sessions", json={}).json()["session_id"]
        for message in said:
            body = {"message": message, "inputs": inputs, "session_id": session}
            answer = http.post("/chat", json=body)
            document = answer.json()
            if answer.status_code != 200:
                yield Failure(document["code"], answer.text)
                continue
            stored = http.get(f"/sessions/{session}/messages", params={"limit": 1000})
            yield document | {"stored": stored.json()["items"]}


def ask_as_openai(url: str, said: Any, inputs: Mapping[str, Any]) -> Iterator[Any]:
    """Give the words of each turn; the client sends the conversation, and drops a message that got no answer."""
    headers = {"X-Conversation-Id": uuid4().hex}
    client = _openai().with_options(base_url=f"{url}/v1", default_headers=headers)
    model = client.models.list().data[0].id
    messages: list[Any] = []
    for message in said:
        asked = [*messages, {"role": "user", "content": message}]
        try:
            completion = client.chat.completions.create(model=model, messages=asked, extra_body=dict(inputs))
        except APIStatusError as error:
            yield Failure(str(error.code), str(error))
            continue
        words = completion.choices[0].message.content
        messages = [*asked, {"role": "assistant", "content": words}]
        yield words


@cache
def _openai() -> OpenAI:
    """Return the client that all conversations share, as making one takes long."""
    return OpenAI(base_url="http://127.0.0.1", api_key="any", max_retries=0)


def ask_as_gradio(url: str, said: Any, inputs: Mapping[str, Any]) -> Iterator[Any]:
    """Give the last value of each turn, after all values before it have been iterated over."""
    client = Client(url, verbose=False, analytics_enabled=False, ssl_verify=False)
    for message in said:
        job = client.submit(message, **inputs, api_name="/chat")
        values = list(job)
        try:
            result = job.result(TIMEOUT_S)
        except (AppError, ValueError) as error:
            yield Failure("", str(error))
            continue
        assert not values or briefly(values[-1]) == briefly(result)
        yield briefly(result)


def briefly(value: Any) -> Any:
    """Return a value of Gradio's without what is empty; a message that is only words is these words."""
    if isinstance(value, list):
        return [briefly(item) for item in value]
    if isinstance(value, dict) and "content" in value:
        kept = {"content": briefly(value["content"])}
        kept |= {name: item for name, item in (value.get("metadata") or {}).items() if name == "title" and item}
        kept |= {"options": options} if (options := value.get("options")) else {}
        return kept["content"] if list(kept) == ["content"] and not isinstance(kept["content"], list) else kept
    if isinstance(value, str) and value.startswith("/tmp/") and Path(value).is_file():
        return {"file": Path(value).read_text("utf-8")}
    return value


CLIENTS: dict[str, Callable[[str, Any, Mapping[str, Any]], Iterator[Any]]] = {
    "native": ask_natively,
    "openai": ask_as_openai,
    "gradio": ask_as_gradio,
}
