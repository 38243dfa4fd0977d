"""The contract between wire formats and the routes: raw requests, steps, replies.

A format's handler is a plain generator. It takes a `RawRequest`, yields the *steps* it needs (find a turn, submit a
call), receives the result of each, and returns its *reply*::

    def create_completion(request: RawRequest) -> Handling:
        call = decode_call(request)
        started = yield from Submit(call)
        return StreamReply(OfTurn(started.turn_id), CompletionEncoder(...))

So a format needs no event loop, engine or HTTP, and a test can take the server's role. An error of a step is raised
where the step was yielded. An error that the handler does not catch becomes the format's own error reply
(`WireFormat.refuse`). Knows no format and no route.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import field
from fnmatch import fnmatchcase
from typing import Any, Generic, Literal, Protocol, TypeAlias, TypeVar, cast, runtime_checkable

from chatserve.codec import MAX_DEPTH, loads
from chatserve.contracts.formats import ParsedMessage
from chatserve.contracts.streams import StreamReply
from chatserve.contracts.turns import TurnCall, TurnRecord
from chatserve.core.errors import BodyInvalid, ChatserveError
from chatserve.core.frozen import frozen
from chatserve.core.types import FilePart, Json, Message, Session

T = TypeVar("T")

# --- requests ----------------------------------------------------------------------------------------------------


@frozen
class ChatProfile:
    """The public description of a chat. `inputs` is the JSON Schema of its inputs, `input_names` has their order.

    `aliases` are further names, or patterns of names, by which clients may ask for it.
    """

    name: str
    title: str
    description: str
    inputs: Mapping[str, Json]
    input_names: tuple[str, ...]
    takes_files: bool
    aliases: tuple[str, ...] = ()


@frozen
class RawRequest:
    """A request before any format has read it. Header names are lower case; the first chat is the default one.

    `files` are the uploads of an endpoint that takes files, already stored. `base_url` is the address the client used,
    without a trailing slash. `now` and `started_at` (of the server) are seconds since the epoch. `owner` is the owner
    whose sessions the request may read; a format must not show one owner's state to another. `max_json_depth` is the
    setting.
    """

    method: str
    path: str
    chats: Mapping[str, ChatProfile]
    request_id: str
    now: float
    started_at: float = 0.0
    owner: str = ""
    base_url: str = ""
    path_params: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    files: tuple[FilePart, ...] = ()
    max_json_depth: int = MAX_DEPTH

    def json_object(self) -> dict[str, Json]:
        """Return the body as a JSON object; without a body, an empty one. Raises: BodyInvalid."""
        if not self.body:
            return {}
        try:
            value = loads(self.body, self.max_json_depth)
        except ValueError as error:
            raise BodyInvalid(f"the body is not JSON that can be read: {error}") from error
        if not isinstance(value, dict):
            raise BodyInvalid(f"the body is {value!r:.80}; send a JSON object")
        return value

    @property
    def default_chat(self) -> ChatProfile:
        """The chat that answers if the request names none."""
        return next(iter(self.chats.values()))

    def find_chat(self, name: str) -> ChatProfile | None:
        """Return the chat that a client asks for: by its name, else an alias spelled out, else a pattern."""
        if name in self.chats:
            return self.chats[name]
        for matches in (str.__eq__, fnmatchcase):
            for chat in self.chats.values():
                if any(matches(name, alias) for alias in chat.aliases):
                    return chat
        return None


# --- steps -------------------------------------------------------------------------------------------------------


class Wanted(Generic[T]):
    """A step whose result is a `T`: `record = yield from FindTurn(turn_id)`."""

    __slots__ = ()

    def __iter__(self) -> Generator[Step, Any, T]:
        return cast("T", (yield cast("Step", self)))


@frozen
class StartedTurn:
    """An accepted turn. `session_id` is "" for a stateless turn; `created_at` is in seconds.

    `first_seq` is the number of the turn's first event in its session's log.
    """

    turn_id: str
    session_id: str
    created_at: float
    first_seq: int = 0


@frozen
class Submit(Wanted[StartedTurn]):
    """Accept a turn. Raises: RequestError (nothing was stored), StoreError."""

    call: TurnCall


@frozen
class Wait(Wanted[TurnRecord]):
    """Wait for the end of a turn this request submitted."""

    turn_id: str


@frozen
class FindTurn(Wanted[TurnRecord]):
    """Look up a turn in its present state. Raises: TurnUnknown."""

    turn_id: str


@frozen
class StopTurn(Wanted[TurnRecord]):
    """Stop a turn, unless it has ended. Raises: TurnUnknown."""

    turn_id: str


@frozen
class ForgetTurn(Wanted[int]):
    """Delete the record of an ended turn. Raises: TurnUnknown, SessionBusy."""

    turn_id: str


@frozen
class StopSession(Wanted[None]):
    """Stop all running and waiting turns of a session. Raises: SessionUnknown."""

    session_key: str


@frozen
class FindSession(Wanted[Session]):
    """Look up a session. Raises: SessionUnknown."""

    session_key: str


@frozen
class ReadBranch(Wanted[tuple[Message, ...]]):
    """Read the messages up to `head` (None: all), oldest first. Raises: SessionUnknown."""

    session_key: str
    head: str | None = None


@frozen
class FindMessage(Wanted[Message]):
    """Look up a message, in any session and branch. Raises: MessageUnknown."""

    message_id: str


@frozen
class CreateSession(Wanted[Session]):
    """Create a session, optionally with a history."""

    title: str | None = None
    metadata: Mapping[str, Json] = field(default_factory=dict)
    history: tuple[ParsedMessage | Message, ...] = ()


@frozen
class ChangeSession(Wanted[Session]):
    """Set a session's metadata. Raises: SessionUnknown."""

    session_key: str
    metadata: Mapping[str, Json]


@frozen
class ReplaceHistory(Wanted[Session]):
    """Replace the session's history; the start that both have in common stays as it is.

    Raises: SessionUnknown, SessionBusy.
    """

    session_key: str
    history: tuple[ParsedMessage | Message, ...]


@frozen
class DeleteSession(Wanted[None]):
    """Delete a session and everything that belongs to it. Raises: SessionUnknown, SessionBusy."""

    session_key: str


@frozen
class KeepFile(Wanted[FilePart]):
    """Store a file from the body of a request. The same bytes are stored once. Raises: BodyTooLarge."""

    content: bytes
    name: str
    media_type: str


@frozen
class FindFiles(Wanted[tuple[FilePart, ...]]):
    """Look up stored files. Raises: FileUnknown."""

    file_ids: tuple[str, ...]


@frozen
class FindLastTurn(Wanted[TurnRecord | None]):
    """Look up the newest turn of a session. Raises: SessionUnknown."""

    session_key: str


@frozen
class FindFirstSeq(Wanted[int]):
    """Look up the lowest event number that the log of a session retains. Raises: SessionUnknown."""

    session_key: str


@frozen
class Pause(Wanted[None]):
    """Wait for some time."""

    seconds: float


@frozen
class WakeReaders(Wanted[None]):
    """Let the open streams of a session ask for frames that no event brings, after some time."""

    session_key: str
    delay_s: float


Step: TypeAlias = (
    Submit
    | Wait
    | FindTurn
    | StopTurn
    | ForgetTurn
    | StopSession
    | FindSession
    | ReadBranch
    | FindMessage
    | CreateSession
    | ChangeSession
    | ReplaceHistory
    | DeleteSession
    | KeepFile
    | FindFiles
    | FindLastTurn
    | FindFirstSeq
    | Pause
    | WakeReaders
)


# --- replies -----------------------------------------------------------------------------------------------------


@frozen
class JsonReply:
    """A JSON document."""

    body: Json
    status_code: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@frozen
class FileReply:
    """The bytes of a stored file."""

    file_id: str


Reply: TypeAlias = JsonReply | FileReply | StreamReply
Handling: TypeAlias = Generator[Step, Any, Reply]


# --- a format ----------------------------------------------------------------------------------------------------


@frozen
class Endpoint:
    """One method and path of a format.

    Paths may contain `{name}` and `{name:path}`. `header`: the endpoint serves only requests with this header, if
    another format has the same method and path. `takes` is the kind of body.
    """

    method: Literal["GET", "POST", "DELETE"]
    path: str
    summary: str
    handle: Callable[[RawRequest], Handling]
    header: str | None = None
    takes: Literal["json", "files"] = "json"

    @property
    def public_path(self) -> str:
        """The path as people write it."""
        return self.path.replace(":path}", "}")


@runtime_checkable
class WireFormat(Protocol):
    """One protocol of clients: its endpoints and its form of errors.

    `client_header` is a header that all of the protocol's clients send and no others do, if there is one: their
    requests are refused in this form wherever they ended up.
    """

    name: str
    endpoints: tuple[Endpoint, ...]
    client_header: str | None

    def refuse(self, error: ChatserveError, request: RawRequest) -> JsonReply:
        """Return the reply to a request that cannot be answered; of one without an endpoint only the head is known."""
        ...
