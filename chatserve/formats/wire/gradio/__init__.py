"""Gradio's client protocol: what `gradio_client`, `@gradio/client` and `curl` speak to a `ChatInterface`.

A call takes two requests: `queue/join` starts a turn, `queue/data` streams all turns that a session waits for. An
event in Gradio's terms is a turn, with the turn's id; a `session_hash` is a session's key. The paths are below
`/gradio_api`, and at the root for clients older than that prefix. Source: gradio 6.31 `routes.py`; decisions are in
the README of `formats/wire`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any, Final

from chatserve.contracts.streams import OfNothing, OfSession, OfTurn, StreamForm, StreamReply
from chatserve.contracts.turns import TurnRecord
from chatserve.contracts.wire import (
    Endpoint,
    FileReply,
    FindFirstSeq,
    FindLastTurn,
    FindTurn,
    Handling,
    JsonReply,
    Pause,
    RawRequest,
    Step,
    StopSession,
    StopTurn,
    Submit,
    Wait,
    WakeReaders,
)
from chatserve.contracts.wire import (
    Reply as Reply,
)
from chatserve.core.errors import (
    BodyInvalid,
    ChatserveError,
    Overloaded,
    RequestError,
    SessionUnknown,
    TurnUnknown,
)
from chatserve.core.events import NumberedEvent
from chatserve.core.types import Json
from chatserve.formats.shared.message_array import field_invalid
from chatserve.formats.wire.gradio import frames
from chatserve.formats.wire.gradio.apis import API_PREFIX, configuration, describe_apis, find_api, find_index
from chatserve.formats.wire.gradio.arguments import read_call, read_named_call
from chatserve.formats.wire.gradio.calls import CallEncoder
from chatserve.formats.wire.gradio.inboxes import HEAD_START_S, Inbox, Inboxes
from chatserve.formats.wire.gradio.outcomes import failure_of
from chatserve.formats.wire.gradio.queue import FORM, JOINED, QueueDelivery, QueueEncoder
from chatserve.formats.wire.gradio.refusals import refusal_of, refuse
from chatserve.formats.wire.gradio.values import answer_value, file_id_of
from chatserve.settings import Settings

ALIVE: Final = b"data: ALIVE\n\n"
CALL_FORM: Final = StreamForm(ping=frames.CALL_HEARTBEAT)
DONE: Final = {"success": True}


class Gradio:
    """The format. `endpoints` has its paths; its only state is which turns wait to be delivered."""

    name = "gradio"
    client_header: str | None = None

    def __init__(self, settings: Settings) -> None:
        self._max_file_size = settings.max_upload_bytes
        self._inboxes = Inboxes()
        self.endpoints = tuple(endpoint for prefix in (API_PREFIX, "") for endpoint in self._endpoints(prefix))

    def _endpoints(self, prefix: str) -> list[Endpoint]:
        def get(path: str, summary: str, handle: Callable[[RawRequest], Handling]) -> Endpoint:
            return Endpoint("GET", prefix + path, summary, handle)

        def post(path: str, summary: str, handle: Callable[[RawRequest], Handling]) -> Endpoint:
            return Endpoint("POST", prefix + path, summary, handle)

        return [
            get("/config", "What clients read first", self._configuration),
            get("/info", "Apis and their parameters", _info),
            get("/app_id", "A number that changes with each start", _app_id),
            get("/heartbeat/{session_hash}", "A stream that shows that the server is there", _heartbeat),
            post("/queue/join", "Start a turn", self._join),
            get("/queue/data", "The stream of what a session waits for", self._data),
            get("/queue/status", "What is known of the queue without a turn", _status),
            post("/cancel", "Stop a turn, or all of a session", _cancel),
            post("/reset", "Stop a turn", _cancel),
            post("/call/{api}", "Start a turn, for curl", _call),
            post("/call/v2/{api}", "Start a turn with arguments by name, for curl", _call_by_name),
            get("/call/{api}/{event_id}", "The stream of a turn, for curl", _call_stream),
            get("/call/v2/{api}/{event_id}", "The same", _call_stream),
            post("/run/{api}", "Take a turn and wait for its answer", _run),
            post("/api/{api}", "The same", _run),
            Endpoint("POST", prefix + "/upload", "Store files", _upload, takes="files"),
            get("/file={path:path}", "Download a file", _file),
        ]

    def _configuration(self, request: RawRequest) -> Handling:
        yield from ()
        app_id = int(request.started_at * 1000)
        return JsonReply(configuration(request.chats, app_id=app_id, max_file_size=self._max_file_size))

    # the queue

    def _join(self, request: RawRequest) -> Handling:
        """Start a turn and add it to its session's inbox. A call that cannot become a turn is refused in the stream.

        Iterating a job of the Python client never ends if the response to its join is an error.
        """
        body = request.json_object()
        session_hash = body.get("session_hash")
        if not session_hash or not isinstance(session_hash, str):
            raise field_invalid("session_hash", "it is missing or no text; the answer is read under it")
        inbox = self._inboxes.of(request.owner, session_hash)
        try:
            api = find_index(request.chats, body.get("fn_index"))
            call = yield from read_call(request, api, body, echo={JOINED: True})
            started = yield from Submit(replace(call, delay_s=inbox.delay_s))
        except Overloaded:
            raise
        except RequestError as error:
            event_id = request.request_id
            inbox.add_refusal(event_id, refusal_of(error), now=request.now)
            if inbox.turns:
                yield from WakeReaders(session_hash, 2 * HEAD_START_S)
        else:
            event_id = started.turn_id
            inbox.add(event_id, started.first_seq)
        yield from Pause(inbox.rest_s(now=request.now))
        return JsonReply({"event_id": event_id})

    def _data(self, request: RawRequest) -> Handling:
        """Deliver all waiting turns, and those that join meanwhile."""
        session_hash = request.query.get("session_hash")
        if not session_hash:
            raise field_invalid("session_hash", "it is missing")
        inbox = self._inboxes.of(request.owner, session_hash)
        if not inbox:
            yield from _recall_turn(inbox, session_hash, request.started_at)
        waiting = yield from _find_waiting(inbox)
        encoder = QueueEncoder(inbox, request.base_url)
        delivery = QueueDelivery(inbox, encoder)
        if not waiting:
            return (yield from _refusals_alone(inbox, encoder, delivery, request.now))
        gone = [record for record in waiting if record.turn.done_seq]
        if gone:
            first_seq = yield from FindFirstSeq(session_hash)
            gone = [record for record in gone if 0 < (record.turn.first_seq or 0) < first_seq]
        after = inbox.cursor(but=[record.turn.turn_id for record in gone])
        return StreamReply(
            OfSession(waiting[0].turn.session_id, after),
            encoder,
            form=FORM,
            opening=b"".join([encoder.encode(event) for record in gone for event in record.as_numbered()]),
            serves=inbox,
            delivery=delivery,
            extras=delivery,
        )

    def refuse(self, error: ChatserveError, request: RawRequest) -> JsonReply:
        return refuse(error, request)


def _info(request: RawRequest) -> Handling:
    yield from ()
    return JsonReply(describe_apis(request.chats))


def _app_id(request: RawRequest) -> Handling:
    yield from ()
    return JsonReply({"app_id": int(request.started_at * 1000)})


def _heartbeat(request: RawRequest) -> Handling:
    yield from ()
    return StreamReply(OfNothing(), Silence(), form=StreamForm(ping=ALIVE), opening=ALIVE)


def _status(request: RawRequest) -> Handling:
    yield from ()
    return JsonReply({"msg": "estimation", "event_id": None, "rank": None, "queue_size": None, "rank_eta": None})


def _recall_turn(inbox: Inbox, session_hash: str, started_at: float) -> Generator[Step, Any, None]:
    """Add a turn to the inbox that joined before this server started and may not have been delivered."""
    try:
        record = yield from FindLastTurn(session_hash)
    except SessionUnknown:
        return
    if record is None or record.turn.created_at >= started_at:
        return
    if JOINED in (record.turn.echo or {}) and record.turn.first_seq is not None:
        inbox.add(record.turn.turn_id, record.turn.first_seq)


def _find_waiting(inbox: Inbox) -> Generator[Step, Any, list[TurnRecord]]:
    """Return the waiting turns; remove those that no longer exist from the inbox."""
    found: list[TurnRecord] = []
    for turn_id in list(inbox.turns):
        try:
            found.append((yield from FindTurn(turn_id)))
        except TurnUnknown:
            inbox.forget((turn_id,))
    return found


def _refusals_alone(
    inbox: Inbox, encoder: QueueEncoder, delivery: QueueDelivery, now: float
) -> Generator[Step, Any, StreamReply]:
    """Return the stream of a session that waits for no turn: its refusals, or that nothing is waiting."""
    yield from Pause(inbox.wait_s(now=now))
    if inbox:
        return StreamReply(OfNothing(), encoder, form=FORM, delivery=delivery, extras=delivery)
    said = frames.unexpected_error("nothing is waiting in this session") + frames.CLOSE_STREAM
    return StreamReply(OfNothing(), Silence(is_complete=True), opening=said)


def _cancel(request: RawRequest) -> Handling:
    """Stop a turn, or without an event id the session's turns. Ended or unknown turns are not an error."""
    body = request.json_object()
    event_id, session_hash = body.get("event_id"), body.get("session_hash")
    try:
        if isinstance(event_id, str):
            yield from StopTurn(event_id)
        elif isinstance(session_hash, str):
            yield from StopSession(session_hash)
    except (TurnUnknown, SessionUnknown):
        pass
    return JsonReply(DONE)


# simple calls


def _call(request: RawRequest) -> Handling:
    api = find_api(request.chats, request.path_params["api"])
    started = yield from Submit((yield from read_call(request, api, request.json_object(), is_detached=True)))
    return JsonReply({"event_id": started.turn_id})


def _call_by_name(request: RawRequest) -> Handling:
    api = find_api(request.chats, request.path_params["api"])
    started = yield from Submit((yield from read_named_call(request, api, request.json_object(), is_detached=True)))
    return JsonReply({"event_id": started.turn_id})


def _call_stream(request: RawRequest) -> Handling:
    """Stream a turn from its beginning, any number of times."""
    api = find_api(request.chats, request.path_params["api"])
    event_id = request.path_params["event_id"]
    record = yield from FindTurn(event_id)
    if record.turn.chat != api.chat.name:
        raise TurnUnknown(f"no event {event_id!r} of /{api.name}")
    return StreamReply(OfTurn(event_id), CallEncoder(request.base_url), form=CALL_FORM)


def _run(request: RawRequest) -> Handling:
    api = find_api(request.chats, request.path_params["api"])
    started = yield from Submit((yield from read_call(request, api, request.json_object())))
    record = yield from Wait(started.turn_id)
    turn = record.turn
    error = turn.error or failure_of(turn.status, turn.finish_reason)
    if error is not None:
        failed: dict[str, Json] = {"detail": error.detail, **frames.error_output(error), "code": error.code}
        return JsonReply(failed | {"error_id": error.error_id}, error.status_code, {"x-should-retry": "false"})
    value: Any = answer_value(record.messages, request.base_url, is_open=False)
    duration = round((turn.finished_at or turn.created_at) - turn.created_at, 3)
    return JsonReply({"data": [value], "is_generating": False, "duration": duration})


# files


def _upload(request: RawRequest) -> Handling:
    """Answer with the ids of the stored files in place of Gradio's paths, which clients only send back."""
    yield from ()
    return JsonReply([file.file_id for file in request.files])


def _file(request: RawRequest) -> Handling:
    yield from ()
    file_id = file_id_of(request.path_params["path"])
    if not file_id:
        raise BodyInvalid("the file's id is missing")
    return FileReply(file_id)


class Silence:
    """Encodes no events. `is_complete`: the stream ends at once."""

    is_per_turn = False

    def __init__(self, *, is_complete: bool = False) -> None:
        self.is_complete = is_complete

    def encode(self, numbered: NumberedEvent) -> bytes:
        return b""

    def farewell(self) -> bytes:
        return b""
