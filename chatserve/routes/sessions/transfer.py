"""Export and import of sessions over HTTP, as one JSON document without loss."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from chatserve.codec import dumps
from chatserve.contracts.store import SessionRecord
from chatserve.core.errors import FileUnknown, SessionExists, SessionUnknown
from chatserve.core.types import Session, StoredFile
from chatserve.engine import TurnEngine
from chatserve.routes.http.given import claim_id, place_of_id
from chatserve.routes.http.requests import etag, owner_of, read_body, read_flag, require_json
from chatserve.routes.openapi.operations import IDEMPOTENCY_KEY, Answer, Operation, flag, json_of
from chatserve.routes.sessions.document import ImportedSession, document_json, file_fields, read_document, with_new_ids
from chatserve.routes.sessions.sessions import CREATED, create_once
from chatserve.stores.file_folder import FileFolder


@dataclass(frozen=True, slots=True)
class TransferRoutes:
    """Routes that move whole sessions."""

    engine: TurnEngine
    files: FileFolder

    # export

    @Operation(
        "export_session",
        "GET /sessions/{session_id}/export",
        (Answer(200, "the document", json_of("SessionDocument"), ("ETag",)),),
    )
    async def export(self, request: Request) -> Response:
        """Export a session: all branches, turns and files in one document."""
        record = await self.engine.store.export_session(owner_of(request), request.path_params["session_id"])
        session = record.session
        headers = {
            "etag": etag(session.version),
            "content-disposition": f'attachment; filename="{session.session_id}.json"',
        }
        return StreamingResponse(self._document(record), media_type="application/json", headers=headers)

    async def _document(self, record: SessionRecord) -> AsyncIterator[bytes]:
        yield dumps(document_json(record, self.engine.clock()))[:-1] + b',"files":['
        for number, file in enumerate(record.files):
            yield (b"," if number else b"") + dumps(file_fields(file))[:-1] + b',"data":'
            async for piece in self._encoded(file):
                yield piece
            yield b"}"
        yield b"]}"

    async def _encoded(self, file: StoredFile) -> AsyncIterator[bytes]:
        """Yield a file's bytes as a JSON string of base64, or null when they are gone."""
        try:
            pieces = await self.files.open(file.part)
        except FileNotFoundError:
            yield b"null"
            return
        yield b'"'
        async for piece in pieces:
            yield b64encode(piece)
        yield b'"'

    # import

    @Operation(
        "import_session",
        "POST /sessions/import",
        (replace(CREATED, links={"export_session": {"session_id": "$response.body#/session_id"}}),),
        (flag("new_ids", "true: import a copy, with new ids for session, turns, messages and files"), IDEMPOTENCY_KEY),
        json_of("SessionDocument"),
        errors=(SessionUnknown, SessionExists),
    )
    async def import_(self, request: Request) -> Response:
        """Import an exported session."""
        engine, owner = self.engine, owner_of(request)
        require_json(request)
        raw = await read_body(request, max_bytes=engine.settings.max_history_body_bytes)
        imported = await to_thread.run_sync(read_document, raw, owner)
        if read_flag(request, "new_ids"):
            claim = await claim_id(engine, request, raw, engine.new_id("s_"))
            imported = with_new_ids(imported, claim.made_id, engine.new_id)
        else:
            session_id = imported.record.session.session_id
            place_of_id(session_id, engine.settings, owner)
            claim = await claim_id(engine, request, raw, session_id)
        return await create_once(engine, owner, claim, self._write(owner, imported))

    async def _write(self, owner: str, imported: ImportedSession) -> Session:
        """Write the files' bytes, then the records; on failure remove the bytes again. Raises: SessionExists."""
        written: list[str] = []
        try:
            for file in imported.record.files:
                known = await self._find_file(owner, file.file_id)
                if known is None and file.file_id in imported.contents:
                    await self._write_file(file, imported.contents[file.file_id], written)
                elif known is not None and known.part != file.part:
                    raise _file_exists(file)
            return await self.engine.store.import_session(imported.record)
        except BaseException:
            await self.files.remove([each for each in written if not await self._find_file(owner, each)])
            raise

    async def _write_file(self, file: StoredFile, content: bytes, written: list[str]) -> None:
        try:
            if await self.files.write_as(file.file_id, file.name, content):
                written.append(file.file_id)
        except FileExistsError as error:
            raise _file_exists(file) from error

    async def _find_file(self, owner: str, file_id: str) -> StoredFile | None:
        try:
            (found,) = await self.engine.store.get_files(owner, [file_id])
        except FileUnknown:
            return None
        return found


def _file_exists(file: StoredFile) -> SessionExists:
    return SessionExists(f"file {file.file_id!r} is there already; ?new_ids=true gives it another id")
