"""Files over HTTP: upload and download. Names and types from clients are stored as text and never used as paths."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Final, cast
from urllib.parse import quote

from anyio import to_thread
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from chatserve.codec import clean_text, file_json
from chatserve.core.errors import BodyInvalid, FileUnknown, MediaTypeUnsupported, SessionUnknown
from chatserve.core.types import StoredFile
from chatserve.engine import TurnEngine
from chatserve.routes.http.given import claim_id
from chatserve.routes.http.media_types import Sniffer, is_allowed
from chatserve.routes.http.requests import owner_of, stream_body
from chatserve.routes.http.responses import json_response
from chatserve.routes.openapi.operations import IDEMPOTENCY_KEY, Answer, Operation, Parameter, Schema, json_of
from chatserve.routes.openapi.schemas import STRING, record
from chatserve.stores.file_folder import DEFAULT_MEDIA_TYPE, FileFolder, guess_media_type

MAX_NAME_LENGTH: Final = 255
MULTIPART_OVERHEAD_BYTES: Final = 64 * 1024
"""How many bytes boundaries and part headers may add to the file."""

MAX_FILES_AT_ONCE: Final = 20
CHUNK_BYTES: Final = 64 * 1024
MEDIA_TYPE: Final = re.compile(r"[a-z0-9!#$&^_.+-]{1,100}/[a-z0-9!#$&^_.+-]{1,100}")

DOWNLOAD_HEADERS: Final = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "sandbox; default-src 'none'",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "private, no-cache",
}
"""No browser runs a file or shows it as a page of this origin. Caches revalidate, so a deleted file is gone at once."""

_BYTES: Final[Schema] = {"type": "string", "format": "binary"}
_OF_SESSION: Final = Parameter("session_id", "query", "the session to attach the file to", STRING, SessionUnknown)


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that a client uploads: the name the client gives it, and its bytes."""

    name: str
    declared_type: str
    chunks: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class FileRoutes:
    """Routes of files."""

    engine: TurnEngine
    files: FileFolder

    # upload

    @Operation(
        "upload_file",
        "POST /files",
        (
            Answer(
                201,
                "the file; messages name it by its id",
                json_of("File"),
                ("Location", "Idempotency-Replayed"),
                {"download_file": {"file_id": "$response.body#/id"}},
            ),
        ),
        (
            Parameter("name", "query", "the name of a raw upload", STRING),
            _OF_SESSION,
            IDEMPOTENCY_KEY,
        ),
        {
            "multipart/form-data": record({"file": _BYTES}, additionalProperties=True),
            "application/octet-stream": _BYTES,
        },
    )
    async def upload(self, request: Request) -> Response:
        """Upload a file.

        Send it as the multipart field `file`, or as the raw body with its name in `?name=`.
        """
        engine, owner = self.engine, owner_of(request)
        session_id = request.query_params.get("session_id")
        if session_id is not None:
            await engine.store.get_session(owner, session_id)
        stored, digest = await self._receive(request, owner)
        claim = await claim_id(engine, request, f"{stored.name}\n{digest}".encode(), stored.file_id)
        if claim.is_known:
            await self.files.remove([stored.file_id])  # the janitor removes its record later
            (stored,) = await engine.store.get_files(owner, [claim.made_id])
        if session_id is not None:
            await engine.store.attach_files(owner, session_id, [stored.file_id])
        headers = {"location": f"/files/{stored.file_id}"} | claim.headers
        return json_response(file_json(stored), 201, headers)

    async def _receive(self, request: Request, owner: str) -> tuple[StoredFile, str]:
        """Read and store the upload; return its record and the digest of its bytes."""
        content_type = _bare_type(request.headers.get("content-type", ""))
        if content_type == "multipart/form-data":
            (received,) = await self._receive_form(request, "file", max_files=1)
            return received
        body = stream_body(request, max_bytes=self.engine.settings.max_upload_bytes)
        return await self._store(owner, Upload(request.query_params.get("name", ""), content_type, body))

    async def receive_all(self, request: Request, field: str) -> tuple[StoredFile, ...]:
        """Store every file of a multipart field. Raises: BodyInvalid, BodyTooLarge, MediaTypeUnsupported."""
        received = await self._receive_form(request, field, max_files=MAX_FILES_AT_ONCE)
        return tuple(stored for stored, _ in received)

    async def _receive_form(self, request: Request, field: str, *, max_files: int) -> list[tuple[StoredFile, str]]:
        limit = self.engine.settings.max_upload_bytes * max_files + MULTIPART_OVERHEAD_BYTES
        form = await _parse_form(request, stream_body(request, max_bytes=limit), max_files=max_files)
        try:
            uploads = [_upload_of(file) for file in form.getlist(field) if isinstance(file, UploadFile)]
            if not uploads:
                raise BodyInvalid(f"the multipart body has no file in the field `{field}`")
            return [await self._store(owner_of(request), upload) for upload in uploads]
        finally:
            await form.close()

    async def _store(self, owner: str, upload: Upload) -> tuple[StoredFile, str]:
        engine, file_id, name = self.engine, self.engine.new_id("f_"), clean_name(upload.name)
        sniffer, digest = Sniffer(), sha256()
        chunks = _shown(upload.chunks, sniffer.feed, digest.update)
        size = await self.files.write(file_id, name, chunks, max_bytes=engine.settings.max_upload_bytes)
        try:
            named_type = await to_thread.run_sync(guess_media_type, name)  # may read the system's MIME tables from disk
            media_type = sniffer.media_type((upload.declared_type, named_type))
            self._check_type(media_type)
            stored = StoredFile(file_id, owner, None, name, media_type, size, engine.clock())
            await engine.store.add_file(stored)
        except BaseException:
            await self.files.remove([file_id])
            raise
        return stored, digest.hexdigest()

    def _check_type(self, media_type: str) -> None:
        allowed = self.engine.settings.upload_types
        if not is_allowed(media_type, allowed):
            raise MediaTypeUnsupported(
                f"the file is {media_type!r} by its bytes; uploads may be {', '.join(allowed)}", media_type=media_type
            )

    # download

    @Operation(
        "download_file",
        "GET /files/{file_id}",
        (
            Answer(200, "its bytes, as an attachment", {"*/*": _BYTES}, ("ETag",)),
            Answer(206, "the requested byte range", {"*/*": _BYTES}, ("ETag",)),
            Answer(304, "the client already has it", headers=("ETag",)),
            Answer(416, "no such range", {"text/plain": STRING}),
        ),
        (Parameter("If-None-Match", "header", "the ETag the client has", STRING),),
    )
    async def download(self, request: Request) -> Response:
        """Download a file."""
        return await self.send(request, request.path_params["file_id"])

    async def send(self, request: Request, file_id: str) -> Response:
        """Return a file's bytes, if the requester may read it. Raises: FileUnknown."""
        (stored,) = await self.engine.store.get_files(owner_of(request), [file_id])
        tag = f'"{stored.file_id}"'
        headers = DOWNLOAD_HEADERS | {"etag": tag, "content-disposition": content_disposition(stored.name)}
        if tag in _tags(request.headers.get("if-none-match", "")):
            return Response(status_code=304, headers=headers)
        path = Path(self.files.path_of(stored.part))
        if not await to_thread.run_sync(path.is_file):
            raise FileUnknown(f"the bytes of file {file_id!r} are gone")
        media_type = stored.media_type if MEDIA_TYPE.fullmatch(stored.media_type) else DEFAULT_MEDIA_TYPE
        return FileResponse(path, media_type=media_type, headers=headers)


async def _shown(chunks: AsyncIterator[bytes], *watchers: Callable[[bytes], None]) -> AsyncIterator[bytes]:
    """Yield the chunks unchanged, after each watcher was called with them."""
    async for chunk in chunks:
        for watch in watchers:
            watch(chunk)
        yield chunk


async def _parse_form(request: Request, body: AsyncIterator[bytes], *, max_files: int) -> FormData:
    """Return a multipart form. Raises: BodyInvalid, MediaTypeUnsupported (the parser is not installed)."""
    if find_spec("python_multipart") is None:
        raise MediaTypeUnsupported(
            "multipart bodies need `pip install chatserve[uploads]` on the server; or send the raw body with ?name="
        )
    parser = MultiPartParser(
        request.headers, cast("AsyncGenerator[bytes, None]", body), max_files=max_files, max_fields=10
    )
    try:
        return await parser.parse()
    except MultiPartException as error:
        raise BodyInvalid(f"the multipart body cannot be read: {error.message}") from error


def _upload_of(file: UploadFile) -> Upload:
    return Upload(file.filename or "", _bare_type(file.content_type or ""), _pieces(file))


async def _pieces(file: UploadFile) -> AsyncIterator[bytes]:
    while chunk := await file.read(CHUNK_BYTES):
        yield chunk


def _bare_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _tags(if_none_match: str) -> set[str]:
    return {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}


def clean_name(name: str) -> str:
    """Return the last component of a name, without control and format characters, which could mislead a reader."""
    last = clean_text(name).replace("\\", "/").rpartition("/")[2]
    kept = "".join(char for char in last if unicodedata.category(char) not in {"Cc", "Cf", "Zl", "Zp"}).strip()
    return "file" if kept in {"", ".", ".."} else _shortened(kept)


def _shortened(name: str) -> str:
    """Cut a name to the maximum length and keep its suffix."""
    suffix = Path(name).suffix[:20]
    return name if len(name) <= MAX_NAME_LENGTH else name[: MAX_NAME_LENGTH - len(suffix)] + suffix


def content_disposition(name: str) -> str:
    """Return the header that makes a browser save a file under its name. Source: RFC 6266 sections 4.3 and 5."""
    plain = re.sub(r"[^A-Za-z0-9 ._()-]", "_", name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
