"""How each format is asked for an answer, and how its streams end: a row per format, or per way to ask it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from chatserve.codec import dumps, loads

CHAT = "chat"
MESSAGE = "hi"


@dataclass(frozen=True)
class Request:
    """A request as a client sends it, apart from what HTTP adds."""

    method: str
    path: str
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def content(self) -> bytes:
        return b"" if self.body is None else dumps(self.body)


Ask: TypeAlias = Request | Callable[[bytes], Request]
"""A request, or what makes one of the body of the answer before."""


@dataclass(frozen=True)
class FormatRow:
    """A format.

    `stream` and `document` are the requests that lead to an answer, the last of each to the answer itself; a format may
    have no documents. `end` is a pattern that is found in every stream's last frame; "" where it has no frames.
    """

    name: str
    stream: tuple[Ask, ...]
    document: tuple[Ask, ...]
    end: str
    of: str = ""

    @property
    def format_name(self) -> str:
        """The format it belongs to: its own name, unless it is another way to ask the same one."""
        return self.of or self.name


_MESSAGES = [{"role": "user", "content": MESSAGE}]
_COMPLETION = {"model": CHAT, "messages": _MESSAGES}
_RESPONSE = {"model": CHAT, "input": MESSAGE}
_ANTHROPIC = {"model": CHAT, "max_tokens": 100, "messages": _MESSAGES}
_GRADIO = "/gradio_api"
_JOIN = {"data": [MESSAGE], "fn_index": 0, "session_hash": "golden"}


def _listen(begun: bytes) -> Request:
    return Request("GET", f"{_GRADIO}/call/{CHAT}/{loads(begun)['event_id']}")


ROWS = (
    FormatRow(
        "native",
        (Request("POST", "/chat", {"message": MESSAGE, "stream": True}),),
        (Request("POST", "/chat", {"message": MESSAGE}),),
        r"event: (done|bye)\n",
    ),
    FormatRow("plain", (Request("POST", "/chat", {"message": MESSAGE}, {"accept": "text/plain"}),), (), ""),
    FormatRow(
        "openai_chat",
        (
            Request(
                "POST",
                "/v1/chat/completions",
                _COMPLETION | {"stream": True, "stream_options": {"include_usage": True}},
            ),
        ),
        (Request("POST", "/v1/chat/completions", _COMPLETION),),
        r'^data: (\[DONE\]|\{"error":)',
    ),
    FormatRow(
        "openai_responses",
        (Request("POST", "/v1/responses", _RESPONSE | {"stream": True}),),
        (Request("POST", "/v1/responses", _RESPONSE),),
        r"^(data: \[DONE\]|event: error\n)",
    ),
    FormatRow(
        "anthropic",
        (Request("POST", "/v1/messages", _ANTHROPIC | {"stream": True}),),
        (Request("POST", "/v1/messages", _ANTHROPIC),),
        r"^event: (message_stop|error)\n",
    ),
    FormatRow(
        "gradio",
        (
            Request("POST", f"{_GRADIO}/queue/join", _JOIN),
            Request("GET", f"{_GRADIO}/queue/data?session_hash=golden"),
        ),
        (Request("POST", f"{_GRADIO}/run/{CHAT}", {"data": [MESSAGE]}),),
        r'^data: \{"msg":"close_stream"',
    ),
    FormatRow(
        "gradio_call",
        (Request("POST", f"{_GRADIO}/call/{CHAT}", {"data": [MESSAGE]}), _listen),
        (),
        r"^event: (complete|error)\n",
        of="gradio",
    ),
)
