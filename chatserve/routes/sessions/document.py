"""A session as one JSON document: what export writes and import reads.

An imported document is untrusted. Everything in it is checked here, except what only the store can know: that its
messages form a tree, and that its ids are free. Pure: no store, no folder.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from pydantic import ValidationError

from chatserve.codec import (
    clean_json,
    decode_message,
    decode_time,
    decode_turn,
    encode_time,
    file_json,
    loads,
    message_json,
    part_json,
    session_json,
    turn_json,
)
from chatserve.contracts.store import SessionRecord
from chatserve.core.errors import BodyInvalid, InputsInvalid
from chatserve.core.types import FilePart, Json, Message, Part, Session, StoredFile, Turn
from chatserve.routes.http.requests import shape_invalid
from chatserve.routes.sessions.models import (
    FileDocument,
    FilePartDocument,
    MessageDocument,
    SessionDocument,
    SessionFields,
)

FORMAT: Final = "chatserve.session"
FORMAT_VERSION: Final = 1
MAX_DEPTH: Final = 160
"""A document nests deeper than other bodies: data in an answer may have 128 levels of its own."""


@dataclass(frozen=True, slots=True)
class ImportedSession:
    """A record from outside, with the bytes of its files by id."""

    record: SessionRecord
    contents: Mapping[str, bytes]


# --- writing -----------------------------------------------------------------------------------------------------


def document_json(record: SessionRecord, exported_at: float) -> dict[str, Json]:
    """Return the document but for its files, whose bytes do not fit in memory at once."""
    session = record.session
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "exported_at": encode_time(exported_at),
        "session": session_json(session) | {"state": dict(session.state), "head": session.head},
        "messages": [_message_json(message) for message in record.messages],
        "turns": [turn_json(turn) for turn in record.turns],
    }


def _message_json(message: Message) -> dict[str, Json]:
    """Return a message with its parts one by one: neighbouring texts stay apart."""
    return message_json(message) | {"content": [part_json(part) for part in message.content]}


def file_fields(file: StoredFile) -> dict[str, Json]:
    """Return what is said of a file before its bytes."""
    return {name: value for name, value in file_json(file).items() if name != "url"}


# --- reading -----------------------------------------------------------------------------------------------------


def read_document(body: bytes, owner: str) -> ImportedSession:
    """Return the session of a document, as the owner's.

    Raises:
        BodyInvalid: not JSON.
        InputsInvalid: JSON of another shape, or one that contradicts itself; the message names the place.
    """
    try:
        document = SessionDocument.model_validate(loads(body, MAX_DEPTH))
    except ValidationError as error:
        raise shape_invalid(error) from error
    except ValueError as error:
        raise BodyInvalid(f"the body is not JSON that can be read: {error}") from error
    _check_references(document)
    files = {file.id: _file(file, document.session.session_id, owner) for file in document.files}
    messages = tuple(_message(message, files) for message in document.messages)
    turns = tuple(decode_turn(turn.model_dump()) for turn in document.turns)
    record = SessionRecord(_session(document.session, owner), messages, turns, tuple(files.values()))
    return ImportedSession(record, {file.id: _bytes(file) for file in document.files if file.data is not None})


def _check_references(document: SessionDocument) -> None:
    """Check that the parts of a document name nothing outside it. Raises: InputsInvalid."""
    messages = {message.message_id for message in document.messages}
    turns = {turn.turn_id for turn in document.turns}
    files = {file.id for file in document.files}
    if len(turns) != len(document.turns) or len(files) != len(document.files):
        raise _contradiction("turns, files: an id occurs twice")
    for turn in document.turns:
        if turn.session_id != document.session.session_id or turn.user_message_id not in {None, *messages}:
            raise _contradiction(f"turns: {turn.turn_id!r} names another session, or a message that is not there")
    for message in document.messages:
        named = {part.file_id for part in message.content if isinstance(part, FilePartDocument)}
        if message.turn_id not in {None, *turns} or not named <= files:
            raise _contradiction(f"messages: {message.message_id!r} names a turn or a file that is not there")


def _contradiction(detail: str) -> InputsInvalid:
    return InputsInvalid(detail, errors=[{"field": detail.partition(":")[0], "message": detail}])


def _session(fields: SessionFields, owner: str) -> Session:
    expires_at = fields.expires_at
    return Session(
        fields.session_id,
        owner,
        fields.title,
        clean_json(fields.metadata),
        clean_json(fields.state),
        fields.version,
        fields.head,
        fields.last_seq,
        decode_time(fields.created_at),
        decode_time(fields.updated_at),
        None if expires_at is None else decode_time(expires_at),
    )


def _message(document: MessageDocument, files: Mapping[str, StoredFile]) -> Message:
    """Return a message; what its file parts say of their files is taken from the files."""
    message = decode_message(clean_json(document.model_dump(exclude_unset=True), MAX_DEPTH))
    content = tuple(files[part.file_id].part if isinstance(part, FilePart) else part for part in message.content)
    return replace(message, content=content)


def _file(document: FileDocument, session_id: str, owner: str) -> StoredFile:
    return StoredFile(
        document.id,
        owner,
        session_id,
        document.name,
        document.media_type,
        document.size,
        decode_time(document.created_at),
    )


def _bytes(document: FileDocument) -> bytes:
    try:
        content = base64.b64decode(document.data or "", validate=True)
    except binascii.Error as error:
        raise _contradiction(f"files: the data of {document.id!r} is not base64: {error}") from error
    if len(content) != document.size:
        raise _contradiction(f"files: {document.id!r} has {len(content)} bytes, not {document.size}")
    return content


# --- copies ------------------------------------------------------------------------------------------------------


def with_new_ids(imported: ImportedSession, session_id: str, new_id: Callable[[str], str]) -> ImportedSession:
    """Return the same session under new ids: a copy that may stand beside the first."""
    record = imported.record
    turn_ids = {turn.turn_id: new_id("t_") for turn in record.turns}
    message_ids = {message.message_id: new_id("m_") for message in record.messages}
    file_ids = {file.file_id: new_id("f_") for file in record.files}
    copy = SessionRecord(
        replace(record.session, session_id=session_id, head=message_ids.get(record.session.head or "")),
        tuple(_renamed_message(message, message_ids, turn_ids, file_ids) for message in record.messages),
        tuple(_renamed_turn(turn, session_id, turn_ids, message_ids) for turn in record.turns),
        tuple(replace(file, file_id=file_ids[file.file_id], session_id=session_id) for file in record.files),
    )
    return ImportedSession(copy, {file_ids[file_id]: content for file_id, content in imported.contents.items()})


Names: TypeAlias = Mapping[str, str]


def _renamed_message(message: Message, message_ids: Names, turn_ids: Names, file_ids: Names) -> Message:
    return replace(
        message,
        message_id=message_ids[message.message_id],
        parent_id=message_ids.get(message.parent_id or ""),
        turn_id=turn_ids.get(message.turn_id or ""),
        content=tuple(_renamed_part(part, file_ids) for part in message.content),
    )


def _renamed_part(part: Part, file_ids: Names) -> Part:
    return replace(part, file_id=file_ids[part.file_id]) if isinstance(part, FilePart) else part


def _renamed_turn(turn: Turn, session_id: str, turn_ids: Names, message_ids: Names) -> Turn:
    return replace(
        turn,
        turn_id=turn_ids[turn.turn_id],
        session_id=session_id,
        user_message_id=message_ids.get(turn.user_message_id or ""),
    )
