"""What the routes of files and of whole sessions on the move say of themselves in the OpenAPI document."""

from __future__ import annotations

from typing import Final

from chatserve.core.errors import FileUnknown, IdempotencyConflict, SessionExists, SessionUnknown
from chatserve.routes.openapi.operations import IDEMPOTENCY_KEY, Answer, Link, Operation, Parameter, flag, json_of
from chatserve.routes.openapi.schemas import STRING, record

_BYTES: Final = {"type": "string", "format": "binary"}

UPLOAD_FILE: Final = Operation(
    "upload_file",
    "Upload a file",
    (
        Answer(
            201,
            "the file; messages name it by its id",
            json_of("File"),
            ("Location", "Idempotency-Replayed"),
            (Link("download_file", {"file_id": "$response.body#/id"}),),
        ),
    ),
    (
        Parameter("name", "query", "the name of a raw upload", STRING),
        Parameter("session_id", "query", "the session the file belongs to; it goes with it", STRING),
        IDEMPOTENCY_KEY,
    ),
    body={
        "multipart/form-data": record({"file": _BYTES}, additionalProperties=True),
        "application/octet-stream": _BYTES,
    },
    errors=(SessionUnknown, IdempotencyConflict),
)

DOWNLOAD_FILE: Final = Operation(
    "download_file",
    "Download a file",
    (
        Answer(200, "its bytes, as an attachment", {"*/*": _BYTES}, ("ETag",)),
        Answer(206, "the byte range that was asked for", {"*/*": _BYTES}, ("ETag",)),
        Answer(304, "the client has it", headers=("ETag",)),
        Answer(416, "no such range", {"text/plain": STRING}),
    ),
    (Parameter("If-None-Match", "header", "the ETag the client has", STRING),),
    errors=(FileUnknown,),
)

EXPORT_SESSION: Final = Operation(
    "export_session",
    "Export a session: all branches, turns and files in one document",
    (Answer(200, "the document", json_of("SessionDocument"), ("ETag",)),),
    errors=(SessionUnknown,),
)

IMPORT_SESSION: Final = Operation(
    "import_session",
    "Import a session as it was exported",
    (
        Answer(
            201,
            "the session",
            json_of("Session"),
            ("ETag", "Location", "Idempotency-Replayed"),
            (Link("export_session", {"session_id": "$response.body#/session_id"}),),
        ),
    ),
    (flag("new_ids", "give session, turns, messages and files new ids: a copy"), IDEMPOTENCY_KEY),
    body=json_of("SessionDocument"),
    errors=(SessionUnknown, SessionExists, IdempotencyConflict),
)
