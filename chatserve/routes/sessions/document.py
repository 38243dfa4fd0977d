"""A session as one JSON document, which export writes and import reads.

An imported document is untrusted. This module checks everything in it, except what only the store can check: that its
messages form a tree, and that its ids are free. Pure: uses no store and no folder.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final, Literal, NotRequired, TypeAlias

from pydantic import TypeAdapter, ValidationError

from chatserve.codec import (
    EXPORTED_SESSION,
    clean_json,
    decode_file,
    decode_message,
    decode_turn,
    encode_time,
    file_json,
    loads,
    message_json,
    part_json,
    turn_json,
)
from chatserve.codec.documents import DocumentTypes, list_type, object_type, schemas_of
from chatserve.codec.shapes import shape_of
from chatserve.contracts.store import SessionRecord
from chatserve.core.errors import BodyInvalid, InputsInvalid
from chatserve.core.members import Time
from chatserve.core.types import FilePart, Json, Message, Part, StoredFile, Turn
from chatserve.core.validation import shape_invalid
from chatserve.routes.http.requests import name_of_field

FORMAT: Final = "chatserve.session"
FORMAT_VERSION: Final = 1
MAX_DEPTH: Final = 160
"""A document may nest deeper than other bodies, because data in an answer may have 128 levels."""


@dataclass(frozen=True, slots=True)
class ImportedSession:
    """An imported session record, with the bytes of its files by id."""

    record: SessionRecord
    contents: Mapping[str, bytes]


# --- writing -----------------------------------------------------------------------------------------------------


def document_json(record: SessionRecord, exported_at: float) -> dict[str, Json]:
    """Return the document without its files, whose bytes may not fit in memory together."""
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "exported_at": encode_time(exported_at),
        "session": EXPORTED_SESSION.encode(record.session),
        "messages": [_message_json(message) for message in record.messages],
        "turns": [turn_json(turn) for turn in record.turns],
    }


def _message_json(message: Message) -> dict[str, Json]:
    """Return a message with its list of parts, so that adjacent text parts stay separate."""
    return message_json(message) | {"content": [part_json(part) for part in message.content]}


def file_fields(file: StoredFile) -> dict[str, Json]:
    """Return the members of a file that precede its bytes."""
    return {name: value for name, value in file_json(file).items() if name != "url"}


# --- reading -----------------------------------------------------------------------------------------------------


@cache
def document_type() -> Any:
    """Return the type of a document. Files have their bytes in base64, or null if the bytes were gone at the export."""
    types = DocumentTypes(is_import=True)
    file = types.members(shape_of(StoredFile)) | {"data": str | None}
    del file["url"]
    members = {
        "format": Literal["chatserve.session"],
        "format_version": Literal[1],
        "exported_at": NotRequired[types.of(Time | None)],
        "session": types.record(EXPORTED_SESSION, "SessionFields"),
        "messages": list_type(types.record(shape_of(Message))),
        "turns": list_type(types.record(shape_of(Turn))),
        "files": list_type(object_type("FileDocument", file)),
    }
    return object_type("SessionDocument", members, description="All that belongs to one session.")


def document_schemas() -> dict[str, Json]:
    """Return the schemas that describe a document, by name."""
    return schemas_of({"SessionDocument": document_type()}, "#/components/schemas/{model}")


@cache
def _document_check() -> TypeAdapter[Any]:
    return TypeAdapter(document_type())


def read_document(body: bytes, owner: str) -> ImportedSession:
    """Return the session in a document, with this owner.

    Raises:
        BodyInvalid: the document is not JSON.
        InputsInvalid: the JSON has another shape or contradicts itself; the message names the place.
    """
    try:
        document = _document_check().validate_python(loads(body, MAX_DEPTH))
    except ValidationError as error:
        raise shape_invalid(error, name_of_field) from error
    except ValueError as error:
        raise BodyInvalid(f"the body is not JSON that can be read: {error}") from error
    record = _read_record(document, owner)
    _check_references(record)
    files = {file.file_id: file for file in record.files}
    contents = {
        file.file_id: _bytes(file, each["data"])
        for file, each in zip(record.files, document["files"], strict=True)
        if each["data"] is not None
    }
    messages = tuple(_with_files(message, files) for message in record.messages)
    return ImportedSession(replace(record, messages=messages), contents)


def _read_record(document: Json, owner: str) -> SessionRecord:
    fields = document["session"]
    cleaned = {name: clean_json(fields[name]) for name in ("metadata", "state")}
    session = EXPORTED_SESSION.decode(fields | cleaned, owner=owner)
    return SessionRecord(
        session,
        tuple(decode_message(clean_json(message, MAX_DEPTH)) for message in document["messages"]),
        tuple(map(decode_turn, document["turns"])),
        tuple(decode_file(file, owner=owner, session_id=session.session_id) for file in document["files"]),
    )


def _check_references(record: SessionRecord) -> None:
    """Check that a session's content refers to nothing outside the session. Raises: InputsInvalid."""
    messages = {None, *(message.message_id for message in record.messages)}
    turns = {None, *(turn.turn_id for turn in record.turns)}
    files = {file.file_id for file in record.files}
    if len(turns) != len(record.turns) + 1 or len(files) != len(record.files):
        raise _contradiction("turns, files: an id occurs twice")
    for turn in record.turns:
        if turn.session_id != record.session.session_id or turn.user_message_id not in messages:
            raise _contradiction(f"turns: {turn.turn_id!r} names another session, or a message that is not there")
    for message in record.messages:
        named = {part.file_id for part in message.content if isinstance(part, FilePart)}
        if message.turn_id not in turns or not named <= files:
            raise _contradiction(f"messages: {message.message_id!r} names a turn or a file that is not there")


def _contradiction(detail: str) -> InputsInvalid:
    return InputsInvalid(detail, errors=[{"field": detail.partition(":")[0], "message": detail}])


def _with_files(message: Message, files: Mapping[str, StoredFile]) -> Message:
    """Return a message with the name, type and size of each file part taken from the file's record."""
    content = tuple(files[part.file_id].part if isinstance(part, FilePart) else part for part in message.content)
    return replace(message, content=content)


def _bytes(file: StoredFile, data: str) -> bytes:
    try:
        content = base64.b64decode(data, validate=True)
    except ValueError as error:
        raise _contradiction(f"files: the data of {file.file_id!r} is not base64: {error}") from error
    if len(content) != file.size:
        raise _contradiction(f"files: {file.file_id!r} has {len(content)} bytes, not {file.size}")
    return content


# --- copies ------------------------------------------------------------------------------------------------------


def with_new_ids(imported: ImportedSession, session_id: str, new_id: Callable[[str], str]) -> ImportedSession:
    """Return a copy of the session with new ids, which can exist beside the original."""
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
