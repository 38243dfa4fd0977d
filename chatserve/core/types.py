"""The central values of chatserve: messages, parts, sessions, turns. This module is the glossary.

A *session* is a conversation that the server keeps; a *turn* is one user message and the answer to it; a *message* is a
list of *parts*. Everything here is a plain value: no clock, no I/O, no HTTP.
Times are seconds since the epoch (UTC); ids are opaque strings with a prefix (`s_`, `t_`, `m_`, `f_`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import Field

from chatserve.core.frozen import frozen
from chatserve.core.members import (
    Count,
    FileId,
    Imported,
    Mark,
    MessageId,
    Name,
    SessionId,
    Time,
    TurnId,
    Version,
    Written,
)

Json: TypeAlias = Any
"""A value that JSON can carry: str, int, float, bool, None, and lists and str-keyed dicts of those."""

Role: TypeAlias = Literal["user", "assistant", "system", "developer", "tool"]
ROLES: frozenset[str] = frozenset({"user", "assistant", "system", "developer", "tool"})

TurnStatus: TypeAlias = Literal["queued", "running", "completed", "stopped", "failed", "interrupted"]
FinalStatus: TypeAlias = Literal["completed", "stopped", "failed", "interrupted"]
WhenBusy: TypeAlias = Literal["reject", "queue", "interrupt", "rollback"]
OnDisconnect: TypeAlias = Literal["continue", "stop"]
HistoryFormatName: TypeAlias = Literal["messages", "tuples", "gradio5", "gradio6"]
HistoryIncludes: TypeAlias = Literal["answered", "all"]
YieldMode: TypeAlias = Literal["snapshots", "deltas"]


@dataclass(slots=True, eq=False)
class File:
    """A file for the client: a path on this machine, or bytes. It is served under an opaque id, not its path."""

    path_or_bytes: str | Path | bytes
    name: str | None = field(default=None, kw_only=True)
    media_type: str | None = field(default=None, kw_only=True)


@dataclass(slots=True)
class ChatMessage:
    """A message a chat function may return or yield. It is mutable, as chatserve copies each yielded value.

    `content` is text, a file (`File`, `Path`), or a list of those and of part dicts. `metadata` may hold
    `title` (which makes it a thought or tool step), `id`, `parent_id`, `log`, `duration` (seconds) and
    `status` (`"pending"` or `"done"`). `options` is a list of `{"value", "label"?}` to choose from.
    """

    content: Any = ""
    role: str = "assistant"
    metadata: dict[str, Any] = field(default_factory=dict)
    options: list[dict[str, Any]] = field(default_factory=list)


@frozen
class TextPart:
    """Text of a message."""

    text: str


@frozen
class ReasoningPart:
    """The model's reasoning before its answer; shown apart from the text."""

    text: str


@frozen
class FilePart:
    """A stored file. `size` is in bytes; only `file_id` leads to its content."""

    file_id: FileId
    name: str
    media_type: str
    size: Count

    @property
    def url(self) -> Annotated[str, Written()]:
        """Where this server has the bytes."""
        return f"/files/{self.file_id}"


@frozen
class LocalFile:
    """A file in a chat function's answer that is not stored yet. Never leaves the process.

    `is_named`: plain data named the path, which may come from a client: only some folders may be opened.
    """

    source: Path | bytes
    name: str | None = None
    media_type: str | None = None
    is_named: bool = False


@frozen
class DataPart:
    """Any JSON value in an answer."""

    data: Json
    name: str | None = None


@frozen
class SourcePart:
    """A citation."""

    url: str
    title: str | None = None


@frozen
class ToolCallPart:
    """A call of a tool; `arguments` is JSON text. `where` says whether server or client runs it.

    `kind`: a call of a custom tool, whose `arguments` are any text.
    """

    tool_call_id: str
    name: str
    arguments: Annotated[str, Field(description="JSON text")]
    where: Literal["server", "client"] = "client"
    kind: Literal["custom"] | None = None


@frozen
class ToolResultPart:
    """The result of a tool."""

    tool_call_id: str
    output: Json
    is_error: bool = False


Part: TypeAlias = TextPart | ReasoningPart | FilePart | DataPart | SourcePart | ToolCallPart | ToolResultPart
DraftPart: TypeAlias = Part | LocalFile

PART_NAMES: Final[Mapping[type, str]] = {
    TextPart: "text",
    ReasoningPart: "reasoning",
    FilePart: "file",
    DataPart: "data",
    SourcePart: "source",
    ToolCallPart: "tool_call",
    ToolResultPart: "tool_result",
}
"""The `type` of each part in JSON."""


@frozen
class Feedback:
    """A reader's opinion of a message: one of the values that the chat declares, and an optional comment."""

    value: str
    comment: str | None = None


@frozen
class Message:
    """A stored message, one append-only row. `parent_id` links it to the message before it.

    `status` is set on the messages of an answer that did not complete (`stopped`, `failed`, `interrupted`), and on the
    user's message if its turn ended so before it had an answer.
    """

    message_id: MessageId
    role: Role
    content: Annotated[tuple[Part, ...], Mark.CONTENT]
    created_at: Time
    turn_id: Annotated[TurnId | None, Written(after="message_id", is_always_there=True)] = None
    parent_id: Annotated[MessageId | None, Written(after="turn_id", is_always_there=True)] = None
    metadata: Mapping[str, Json] | None = None
    options: tuple[Mapping[str, Json], ...] | None = None
    status: FinalStatus | None = None
    feedback: Feedback | None = None

    @property
    def text(self) -> str:
        """The text of the message, without reasoning, files or data."""
        if len(self.content) == 1 and isinstance(self.content[0], TextPart):
            return self.content[0].text
        return "".join(part.text for part in self.content if isinstance(part, TextPart))

    @property
    def is_thought(self) -> bool:
        """True for tool steps and thoughts: messages with a title."""
        return bool(self.metadata and self.metadata.get("title"))


@frozen
class Usage:
    """Tokens spent on a turn."""

    input_tokens: Count = 0
    output_tokens: Count = 0


@frozen
class TurnError:
    """Why a turn failed, as shown to the client. `error_id` finds the traceback in the server's log.

    `has_own_status` is false where the developer's `ChatError` named no status, so that each protocol uses its own.
    `notice` is how a front end shows it, where a `gr.Error` says so: `title`, `duration` (seconds), `visible`. Both are
    not stored: only the client that waits for the turn needs them.
    """

    code: Name
    detail: str
    error_id: Name
    retryable: bool = False
    status_code: Annotated[int, Imported(Field(ge=400, le=599))] = 500
    has_own_status: Annotated[bool, Mark.INTERNAL] = True
    notice: Annotated[Mapping[str, Json] | None, Mark.INTERNAL] = None


@frozen
class Turn:
    """One user message and the answer to it. `first_seq` and `done_seq` bound its events in the log.

    `session_id` is "" for a stateless turn, which stores nothing. `echo` holds the fields of its request that the
    client's protocol returns with the turn.
    """

    turn_id: TurnId
    session_id: Annotated[SessionId, Mark.EMPTY_IS_NULL]
    chat: Name
    status: TurnStatus
    user_message_id: MessageId | None
    created_at: Time
    finished_at: Time | None = None
    finish_reason: Annotated[Name | None, Written(after="error")] = None
    usage: Usage | None = None
    error: TurnError | None = None
    first_seq: Count | None = None
    done_seq: Count | None = None
    version: Version | None = None
    echo: Annotated[Mapping[str, Json] | None, Mark.INTERNAL] = None


@frozen
class Session:
    """A conversation. `version` counts accepted changes; `head` is the newest message of the current branch.

    `last_seq` is the highest event number stored; a running turn may be ahead of it.
    """

    session_id: SessionId
    owner: Annotated[str, Mark.INTERNAL]
    title: Name | None
    metadata: Mapping[str, Json]
    state: Annotated[Mapping[str, Json], Mark.EXPORTED]
    version: Annotated[Version, Imported(Field(ge=1))]
    head: Annotated[MessageId | None, Mark.EXPORTED]
    last_seq: Count
    created_at: Time
    updated_at: Time
    expires_at: Time | None = None


@frozen
class StoredFile:
    """An uploaded file, or a file of an answer. Its bytes are in the files folder under `file_id`."""

    file_id: Annotated[FileId, Written("id")]
    owner: Annotated[str, Mark.INTERNAL]
    session_id: Annotated[str | None, Mark.INTERNAL]
    name: Annotated[str, Imported(Field(min_length=1, max_length=255))]
    media_type: Annotated[str, Imported(Field(pattern=r"^[^\x00-\x1f\x7f]{1,255}$"))]
    size: Count
    created_at: Time

    @property
    def url(self) -> Annotated[str, Written(after="size")]:
        """Where this server has the bytes."""
        return self.part.url

    @property
    def part(self) -> FilePart:
        """The part that refers to this file."""
        return FilePart(self.file_id, self.name, self.media_type, self.size)


TurnOperation: TypeAlias = Literal["send", "retry", "edit"]
