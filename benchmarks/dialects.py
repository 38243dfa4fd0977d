"""How to ask each server for an answer and how to read it: requests as templates, marks to count. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from benchmarks.servers.answer import TOKEN


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A request: `%(message)s` and `%(id)s` are filled into path and body."""

    method: str
    path: str
    body: str = ""
    accept: str = "application/json"

    def encode(self, message: str, request_id: str) -> bytes:
        """Return the bytes of the request."""
        values = {"message": message, "id": request_id}
        body = (self.body % values).encode()
        head = f"{self.method} {self.path % values} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: {self.accept}\r\n"
        if body:
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        return head.encode() + b"\r\n" + body


@dataclass(frozen=True, slots=True)
class Dialect:
    """A server's way to answer.

    `stream` are the requests of one streamed answer: all but the last are set-up, awaited in turn. `answer` is the
    request of an answer that comes at once. Each `token_mark` received before `end_mark` is one token delivered; what
    follows `end_mark` repeats the answer.
    """

    stream: tuple[Endpoint, ...]
    answer: Endpoint | None = None
    token_mark: bytes = TOKEN.encode()
    end_mark: bytes | None = None


_SSE: Final = "text/event-stream"
_BODY: Final = '{"message":"%(message)s"}'
_OPENAI: Final = '"model":"m","messages":[{"role":"user","content":"%(message)s"}]'
_ADK: Final = (
    '{"app_name":"quux","user_id":"u","session_id":"%(id)s","streaming":true,'
    '"new_message":{"role":"user","parts":[{"text":"%(message)s"}]}}'
)

STREAM_ONLY: Final = Dialect((Endpoint("POST", "/chat", _BODY, _SSE),))
STARLETTE_SYNC: Final = Dialect((Endpoint("POST", "/chat-sync", _BODY, _SSE),))
PLAIN: Final = Dialect((Endpoint("POST", "/chat", _BODY, _SSE),), Endpoint("POST", "/answer", _BODY))
CHATSERVE: Final = Dialect(
    (Endpoint("POST", "/chat", _BODY, _SSE),), Endpoint("POST", "/chat", _BODY), end_mark=b"event: done"
)
GRADIO: Final = Dialect(
    (
        Endpoint(
            "POST",
            "/gradio_api/queue/join",
            '{"data":["%(message)s",null],"fn_index":6,"session_hash":"%(id)s","event_data":null,"trigger_id":null}',
        ),
        Endpoint("GET", "/gradio_api/queue/data?session_hash=%(id)s", accept=_SSE),
    ),
    end_mark=b'"process_completed"',
)
ADK: Final = Dialect(
    (Endpoint("POST", "/run_sse", _ADK, _SSE),),
    Endpoint("POST", "/run", _ADK),
    # The last event repeats the answer as one text, so only a text that is one token counts.
    token_mark=b'"text":"%b"' % TOKEN.encode(),
)
LITSERVE: Final = Dialect(
    (Endpoint("POST", "/v1/chat/completions", f'{{"stream":true,{_OPENAI}}}', _SSE),),
    Endpoint("POST", "/v1/chat/completions", f"{{{_OPENAI}}}"),
)

# chatserve in the words of others, each answer in a session of its own, as with the native API.

OPENAI_CHAT: Final = Dialect(
    (
        Endpoint(
            "POST",
            "/v1/chat/completions",
            '{"stream":true,"session_id":"%(id)s","messages":[{"role":"user","content":"%(message)s"}]}',
            _SSE,
        ),
    )
)
OPENAI_RESPONSES: Final = Dialect(
    (Endpoint("POST", "/v1/responses", '{"stream":true,"input":"%(message)s"}', _SSE),),
    end_mark=b"event: response.output_text.done",
)
ANTHROPIC: Final = Dialect(
    (
        Endpoint(
            "POST",
            "/v1/messages",
            '{"stream":true,"max_tokens":9,"metadata":{"session_id":"%(id)s"},'
            '"messages":[{"role":"user","content":"%(message)s"}]}',
            _SSE,
        ),
    )
)
GRADIO_PROTOCOL: Final = Dialect(
    (
        Endpoint("POST", "/gradio_api/queue/join", '{"data":["%(message)s"],"fn_index":0,"session_hash":"%(id)s"}'),
        Endpoint("GET", "/gradio_api/queue/data?session_hash=%(id)s", accept=_SSE),
    ),
    end_mark=b'"process_completed"',
)
