"""Reading requests: bodies within their limits, conditions, cursors, owners."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from hashlib import sha256
from typing import Any, Final, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import Request
from starlette.types import Scope

from chatserve.codec import loads
from chatserve.core.errors import BodyInvalid, BodyTooLarge, MediaTypeUnsupported, RequestError
from chatserve.core.validation import Location, shape_invalid
from chatserve.engine import Timeouts
from chatserve.settings import Settings

Body = TypeVar("Body", bound="JsonBody")

BodyTimeouts: TypeAlias = Timeouts[asyncio.Task[Any]]
"""Timeouts of the tasks that wait for the next chunk of a body."""

BODY_TIMEOUTS: Final = "chatserve.body_timeouts"
"""The key of the application's `BodyTimeouts` in a request's scope."""

_HEADERS: Final = "chatserve.headers"
_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
_ETAG: Final = re.compile(r'"(\d{1,18})"')


def owner_of(request: Request) -> str:
    """Return the owner whose sessions this request may read; "" without authentication."""
    owner = request.scope.get("chatserve.owner", "")
    assert isinstance(owner, str)
    return owner


def path_of(scope: Scope) -> str:
    """Return the path relative to the application's mount point."""
    path: str = scope["path"]
    root_path: str = scope.get("root_path", "")
    return path.removeprefix(root_path) if root_path and path.startswith(f"{root_path}/") else path


def headers_of(request: Request) -> dict[str, str]:
    """Return the headers by lower-case name, the first of each; read once per request."""
    headers: dict[str, str] | None = request.scope.get(_HEADERS)
    if headers is None:
        fields = reversed(request.scope["headers"])
        headers = request.scope[_HEADERS] = {name.decode("latin-1"): value.decode("latin-1") for name, value in fields}
    return headers


async def read_body(request: Request, *, max_bytes: int) -> bytes:
    """Return the body.

    Raises:
        BodyTooLarge: it is longer than `max_bytes`; the rest is not read.
        BodyTimeout: no chunk arrived for `body_idle_s`.
        MediaTypeUnsupported: it is compressed.
    """
    _check_announced(request, max_bytes)
    chunks: list[bytes] = []
    left, more = max_bytes, True
    while more:
        chunk, more = await _receive(request, left, max_bytes=max_bytes)
        chunks.append(chunk)
        left -= len(chunk)
    body = b"".join(chunks)
    request._body = body  # noqa: SLF001 - Starlette's cache of the body, which a chat function may read again
    return body


async def stream_body(request: Request, *, max_bytes: int) -> AsyncIterator[bytes]:
    """Yield the body in chunks. Raises: as `read_body`."""
    _check_announced(request, max_bytes)
    left, more = max_bytes, True
    while more:
        chunk, more = await _receive(request, left, max_bytes=max_bytes)
        left -= len(chunk)
        if chunk:
            yield chunk


def _check_announced(request: Request, max_bytes: int) -> None:
    headers = headers_of(request)
    if headers.get("content-encoding", "identity") != "identity":
        raise MediaTypeUnsupported("compressed bodies are not read; send it without Content-Encoding")
    length = headers.get("content-length", "0")
    if length.isdecimal() and int(length) > max_bytes:
        raise _too_large(max_bytes)


async def _receive(request: Request, left: int, *, max_bytes: int) -> tuple[bytes, bool]:
    """Return the next chunk of the body, of at most `left` bytes, and whether more follow."""
    timeouts: BodyTimeouts = request.scope[BODY_TIMEOUTS]
    task = asyncio.current_task()
    assert task is not None
    cancels = task.cancelling()
    timeouts.add(task)
    try:
        message = await request.receive()
    except asyncio.CancelledError:
        if task not in timeouts and task.uncancel() <= cancels:
            raise BodyTimeout(f"nothing of the body came for {timeouts.after_s:g} s") from None
        raise
    finally:
        timeouts.discard(task)
    if message["type"] == "http.disconnect":
        raise BodyInvalid("the connection was closed before the body was complete")
    chunk: bytes = message.get("body", b"")
    if len(chunk) > left:
        raise _too_large(max_bytes)
    return chunk, message.get("more_body", False)


def _too_large(max_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(f"the body is larger than {max_bytes} bytes", max_bytes=max_bytes)


class BodyTimeout(RequestError):
    """The client paused too long while it sent the body."""

    code = "body_timeout"
    status_code = 408


def require_json(request: Request) -> None:
    """Check the content type. Raises: MediaTypeUnsupported."""
    given = headers_of(request).get("content-type", "")
    if given.partition(";")[0].strip().lower() != "application/json":
        raise MediaTypeUnsupported(f"the content type must be application/json, not {given!r}")


class JsonBody(BaseModel):
    """A JSON body: an object with members of exactly these types and no others."""

    model_config = ConfigDict(extra="forbid", strict=True)


async def read_model(request: Request, model: type[Body], settings: Settings) -> tuple[Body, bytes]:
    """Return a JSON body as a `model` and as its bytes. A request without a body counts as an empty object.

    The limit is `max_body_bytes`, or `max_history_body_bytes` for a body with a history, if the model takes one.

    Raises:
        BodyInvalid: the body is not JSON.
        InputsInvalid: the JSON has another shape; `errors` names each field.
        BodyTooLarge, BodyTimeout, MediaTypeUnsupported: as `read_body` and `require_json`.
    """
    limit, takes_history = settings.max_body_bytes, "history" in model.model_fields
    raw = await read_body(request, max_bytes=settings.max_history_body_bytes if takes_history else limit)
    if raw:
        require_json(request)
    body = _decode(model, raw, settings.max_json_depth)
    if len(raw) > limit and getattr(body, "history", None) is None:
        raise _too_large(limit)
    return body, raw


def _decode(model: type[Body], raw: bytes, max_depth: int) -> Body:
    try:
        return model.model_validate(loads(raw, max_depth) if raw else {})
    except ValidationError as error:
        raise shape_invalid(error, name_of_field) from error
    except ValueError as error:
        raise BodyInvalid(f"the body is not JSON that can be read: {error}") from error


def name_of_field(location: Location) -> str:
    """Return a field's path as the client wrote it, without the union members that pydantic adds for a message."""
    return ".".join(str(step) for step in location if step not in ("str", "MessageBody")) or "body"


def body_hash(method: str, path: str, body: bytes) -> str:
    """Return the hash that distinguishes requests with the same idempotency key."""
    return sha256(b"\0".join((method.encode(), path.encode(), body))).hexdigest()


def idempotency_key(headers: Mapping[str, str]) -> str | None:
    """Return the client's key, or None. Raises: BodyInvalid for a malformed key."""
    key = headers.get("idempotency-key")
    if key is not None and not _KEY.fullmatch(key):
        raise BodyInvalid(f"Idempotency-Key {key!r:.80} is not 1 to 255 visible ASCII characters")
    return key


def etag(version: int) -> str:
    """Return a session's version as clients send it back in `If-Match`."""
    return f'"{version}"'


def if_match(headers: Mapping[str, str]) -> int | None:
    """Return the version that a change requires, or None for any version. Raises: BodyInvalid."""
    value = headers.get("if-match")
    if value is None or value == "*":
        return None
    match = _ETAG.fullmatch(value.removeprefix("W/"))
    if match is None:
        raise BodyInvalid(f'If-Match {value!r:.80} is not a version in quotes, like "3"')
    return int(match[1])


def read_cursor(request: Request) -> int | None:
    """Return the event number after which a stream starts: `Last-Event-ID`, else `?after=`; None without either.

    A header that is not a number becomes -1, which leads to a snapshot: after a 400 a browser would never reconnect.

    Raises:
        BodyInvalid: `?after=` is not a number.
    """
    header, after = request.headers.get("last-event-id"), request.query_params.get("after")
    if after is not None and not _is_event_number(after):
        raise BodyInvalid(f"after={after!r:.80} is not the number of an event")
    if header is not None:
        return int(header) if _is_event_number(header) else -1
    return None if after is None else int(after)


def _is_event_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 19


def read_limit(request: Request) -> int:
    """Return the maximum number of items on a page. Raises: BodyInvalid."""
    text = request.query_params.get("limit", "100")
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= 1000):
        raise BodyInvalid(f"limit={text!r:.80} is not a number from 1 to 1000")
    return int(text)


def read_flag(request: Request, name: str) -> bool:
    """Return a true-or-false query parameter, false when it is absent. Raises: BodyInvalid."""
    text = request.query_params.get(name, "false").lower()
    if text not in ("true", "false", "1", "0"):
        raise BodyInvalid(f"{name}={text!r:.80} is neither true nor false")
    return text in ("true", "1")
