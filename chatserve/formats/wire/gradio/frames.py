"""The frames of Gradio's streams: messages of a session's queue, and the events that `curl` reads.

A stream of the queue has only `data:` lines: the Python client fails at comments, event names and CRLF. Knows no
turn. Source: gradio 6.31 `server_messages.py`; gradio_client 2.7 `Client.stream_messages`.
"""

from __future__ import annotations

from typing import Any, Final

from chatserve.codec import dumps, dumps_line
from chatserve.core.events import StatusReported, TurnAccepted
from chatserve.core.types import Json, TurnError

DURATION_S: Final = 10
"""How long a front end shows an error; Gradio's own value."""

BEFORE_TEXT: Final = (
    b'data: {"msg":"process_generating","event_id":%b,"output":{"data":[[["append",%b,'  # event id, path
)
AFTER_TEXT: Final = b']]],"is_generating":true},"success":true}\n\n'


def queue_frame(msg: str, event_id: str | None, **fields: Json) -> bytes:
    """Return one message of a session's queue."""
    return b"data: %b\n\n" % dumps_line({"msg": msg, "event_id": event_id, **fields})


HEARTBEAT: Final = queue_frame("heartbeat", None)
CLOSE_STREAM: Final = queue_frame("close_stream", None)


def before_text(event_id: str, path: list[str | int]) -> bytes:
    """Return the bytes before a text that is appended at a path; `AFTER_TEXT` follows the text."""
    return BEFORE_TEXT % (dumps(event_id), dumps(path))


def estimation(event: TurnAccepted) -> bytes:
    """Return the estimated wait of a turn; `rank` is the number of turns before it."""
    position = event.position or 1
    eta_s = event.eta_s
    return queue_frame("estimation", event.turn.turn_id, rank=position - 1, queue_size=position, rank_eta=eta_s)


def process_starts(event_id: str) -> bytes:
    """Return the message that a turn has started."""
    return queue_frame("process_starts", event_id, eta=None)


def progress(event_id: str, event: StatusReported) -> bytes:
    """Return the message with the function's progress."""
    unit = {"index": event.done, "length": event.total, "unit": "steps", "progress": None, "desc": event.text}
    return queue_frame("progress", event_id, progress_data=[unit])


def process_generating(event_id: str, output: Json) -> bytes:
    """Return the message with the first value of an answer, or with the edits from the last value to the next."""
    return queue_frame("process_generating", event_id, output={"data": [output], "is_generating": True}, success=True)


def process_completed(event_id: str, value: Json) -> bytes:
    """Return the message with the complete answer."""
    output = {"data": [value], "is_generating": False}
    return queue_frame("process_completed", event_id, output=output, success=True, title=None)


def process_failed(event_id: str, error: TurnError) -> bytes:
    """Return the message with the reason why there is no answer."""
    output = error_output(error)
    said = {"title": output["title"], "code": error.code, "error_id": error.error_id}
    return queue_frame("process_completed", event_id, output=output, success=False, **said)


def unexpected_error(message: str) -> bytes:
    """Return the message about an error of the whole stream, which fails all waiting events."""
    return queue_frame("unexpected_error", None, message=message, success=False, session_not_found=True)


def error_output(error: TurnError) -> dict[str, Any]:
    """Return an error in the form that clients raise; the Python client accepts only these members."""
    return {"error": error.detail, "visible": True, "duration": DURATION_S, "title": "Error", **(error.notice or {})}


def call_frame(event: str, data: Json) -> bytes:
    """Return one event of the stream of a simple call."""
    return b"event: %b\ndata: %b\n\n" % (event.encode(), dumps_line(data))


CALL_HEARTBEAT: Final = call_frame("heartbeat", None)
