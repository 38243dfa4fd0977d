"""A session as one JSON document, field by field: the models that export follows and import is checked against.

Knows shapes only; what names what is checked in `session_document`.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from chatserve.codec import decode_time
from chatserve.core.types import FinalStatus, Role, TurnStatus

_ID: Final = r"[A-Za-z0-9_-]{1,64}$"
_MAX_COUNT: Final = 2**53 - 1


def _checked_time(text: str) -> str:
    if not text.endswith("Z"):
        raise ValueError("not a time in UTC, like 2026-01-31T12:00:00.000Z")
    decode_time(text)
    return text


SessionId: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,80}$")]
TurnId: TypeAlias = Annotated[str, Field(pattern="^t_" + _ID)]
MessageId: TypeAlias = Annotated[str, Field(pattern="^m_" + _ID)]
FileId: TypeAlias = Annotated[str, Field(pattern="^f_" + _ID)]
Time: TypeAlias = Annotated[str, AfterValidator(_checked_time)]
Count: TypeAlias = Annotated[int, Field(ge=0, le=_MAX_COUNT)]
Words: TypeAlias = Annotated[str, Field(max_length=1000)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class TextDocument(_Strict):
    """A text or reasoning part."""

    type: Literal["text", "reasoning"]
    text: str


class FilePartDocument(_Strict):
    """A file part; the file itself is among the document's files."""

    type: Literal["file"]
    file_id: FileId
    name: str
    media_type: str
    size: Count
    url: str


class DataDocument(_Strict):
    """A data part."""

    type: Literal["data"]
    data: Any
    name: str | None = None


class SourceDocument(_Strict):
    """A source part."""

    type: Literal["source"]
    url: str
    title: str | None = None


class ToolCallDocument(_Strict):
    """A tool call part."""

    type: Literal["tool_call"]
    tool_call_id: str
    name: str
    arguments: str
    where: Literal["server", "client"]


class ToolResultDocument(_Strict):
    """A tool result part."""

    type: Literal["tool_result"]
    tool_call_id: str
    output: Any
    is_error: bool


PartDocument: TypeAlias = Annotated[
    TextDocument | FilePartDocument | DataDocument | SourceDocument | ToolCallDocument | ToolResultDocument,
    Field(discriminator="type"),
]


class FeedbackDocument(_Strict):
    """A feedback."""

    value: str
    comment: str | None = None


class MessageDocument(_Strict):
    """A message, of whatever branch."""

    message_id: MessageId
    turn_id: TurnId | None
    parent_id: MessageId | None
    role: Role
    content: list[PartDocument]
    created_at: Time
    metadata: dict[str, Any] | None = None
    options: list[dict[str, Any]] | None = None
    status: FinalStatus | None = None
    feedback: FeedbackDocument | None = None


class UsageDocument(_Strict):
    """Tokens spent on a turn."""

    input_tokens: Count
    output_tokens: Count


class TurnErrorDocument(_Strict):
    """Why a turn failed."""

    code: Words
    detail: str
    error_id: Words
    retryable: bool
    status_code: Annotated[int, Field(ge=400, le=599)]


class TurnDocument(_Strict):
    """A turn."""

    turn_id: TurnId
    session_id: SessionId
    chat: Words
    status: TurnStatus
    user_message_id: MessageId | None
    created_at: Time
    finished_at: Time | None = None
    finish_reason: Words | None = None
    usage: UsageDocument | None = None
    error: TurnErrorDocument | None = None
    first_seq: Count | None = None
    done_seq: Count | None = None
    version: Count | None = None


class SessionFields(_Strict):
    """The session itself."""

    session_id: SessionId
    title: Words | None
    metadata: dict[str, Any]
    state: dict[str, Any]
    version: Annotated[int, Field(ge=1, le=_MAX_COUNT)]
    head: MessageId | None
    last_seq: Count
    created_at: Time
    updated_at: Time
    expires_at: Time | None = None


class FileDocument(_Strict):
    """A file with its bytes in base64; null where the bytes were gone at the export."""

    id: FileId
    name: Annotated[str, Field(min_length=1, max_length=255)]
    media_type: Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,255}$")]
    size: Count
    created_at: Time
    data: str | None


class SessionDocument(_Strict):
    """All that belongs to one session."""

    format: Literal["chatserve.session"]
    format_version: Literal[1]
    exported_at: Time | None = None
    session: SessionFields
    messages: list[MessageDocument]
    turns: list[TurnDocument]
    files: list[FileDocument]
