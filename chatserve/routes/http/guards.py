"""Checks before every route: allowed hosts and origins, limits on a request's head, CORS, response headers.

Pure ASGI. Reads a request's headers once and does no work per event of a stream. Knows no route but `/health/*`, which
probes request by IP address. Source: RFC 9110 sections 7.2 and 15; WHATWG Fetch, "CORS protocol"; docs/http.md.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chatserve.core.errors import Forbidden, HeadersTooLarge, HostUnknown, RequestError, UrlTooLong
from chatserve.core.frozen import frozen
from chatserve.engine import Timeouts
from chatserve.routes.http.refusals import Refusals
from chatserve.routes.http.requests import BODY_TIMEOUTS, BodyTimeouts
from chatserve.settings import Settings

MAX_HEADER_FIELDS: Final = 100
MAX_HEADER_BYTES: Final = 32 * 1024
MAX_URL_BYTES: Final = 8 * 1024

ALLOWED_METHODS: Final = "GET, HEAD, POST, PATCH, DELETE"
ALLOWED_HEADERS: Final = b"Authorization, Content-Type, Idempotency-Key, If-Match, Last-Event-ID, Prefer"
"""Headers for a preflight that names none. Any header it names is allowed, as a listed origin is fully trusted."""

EXPOSED_HEADERS: Final = (
    "ETag, Idempotency-Replayed, Location, Request-Id, Retry-After, "
    "X-Request-Id, X-Session-Id, X-Should-Retry, X-Turn-Id"
)
PREFLIGHT_MAX_AGE_S: Final = 600

Header = tuple[bytes, bytes]

SECURITY_HEADERS: Final[tuple[Header, ...]] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
"""Added to every response that does not set them itself."""

_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_HOST: Final = re.compile(rb"(\[[0-9a-f:.]+\]|[^:\[\]]+)(?::\d*)?")
_HEADER_NAMES: Final = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~-]+(?:\s*,\s*[A-Za-z0-9!#$%&'*+.^_`|~-]+)*")


@frozen
class _Head:
    """The parts of a request's head that the guards check."""

    host: bytes | None
    origin: bytes | None
    is_preflight: bool


class Guards:
    """ASGI middleware around the whole application, including its error responses.

    Hosts are compared with the setting `allowed_hosts` without their ports, origins with `cors_origins` exactly.
    """

    def __init__(self, app: ASGIApp, settings: Settings, refusals: Refusals) -> None:
        self._app = app
        self._refusals = refusals
        self._hosts = frozenset(map(_host_name, settings.allowed_hosts))
        self._answers_any_host = b"*" in self._hosts
        self._origins = frozenset(origin.encode() for origin in settings.cors_origins)
        self._vary: tuple[Header, ...] = ((b"vary", b"Origin"),) if self._origins else ()
        self._body_timeouts: BodyTimeouts = Timeouts(settings.body_idle_s, asyncio.Task.cancel)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            head = _read_head(scope)
            self._check_host(scope, head)
            self._check_origin(scope, head)
        except RequestError as error:
            response = self._refusals.respond(Request(scope), error)
            await response(scope, receive, _dressed(send, self._vary))
            return
        is_listed = head.origin in self._origins
        added = self._cors_headers(head.origin) if is_listed and head.origin else self._vary
        app = _preflight(scope) if is_listed and head.is_preflight else self._app
        scope[BODY_TIMEOUTS] = self._body_timeouts
        await app(scope, receive, _dressed(send, added))

    def _check_host(self, scope: Scope, head: _Head) -> None:
        if self._answers_any_host or _is_health(scope):
            return
        host = head.host
        match = None if host is None else _HOST.fullmatch(host.lower())
        if match is None or match[1] not in self._hosts:
            shown = "no Host header" if host is None else f"the host {host.decode('latin-1')!r:.200}"
            raise HostUnknown(f"{shown} is not answered here; the setting allowed_hosts lists which are")

    def _check_origin(self, scope: Scope, head: _Head) -> None:
        """Reject changes and preflights from pages of other origins that are not allowed. Raises: Forbidden."""
        origin = head.origin
        if origin is None or (scope["method"] in _SAFE_METHODS and not head.is_preflight):
            return
        if origin not in self._origins and not _is_same_origin(origin, head.host, scope.get("scheme", "http")):
            raise Forbidden(
                f"requests of pages from {origin.decode('latin-1')!r:.200} are not taken; "
                "the setting cors_origins lists which are"
            )

    def _cors_headers(self, origin: bytes) -> tuple[Header, ...]:
        return (
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", EXPOSED_HEADERS.encode()),
            *self._vary,
        )


def _preflight(scope: Scope) -> Response:
    """Answer the preflight of a listed origin: its page may send the request that it asks about."""
    wanted = next((value for name, value in scope["headers"] if name == b"access-control-request-headers"), b"")
    allowed: bytes = wanted if _HEADER_NAMES.fullmatch(wanted) else ALLOWED_HEADERS
    return Response(
        status_code=204,
        headers={
            "access-control-allow-methods": ALLOWED_METHODS,
            "access-control-allow-headers": allowed.decode("latin-1"),
            "access-control-max-age": str(PREFLIGHT_MAX_AGE_S),
        },
    )


def _read_head(scope: Scope) -> _Head:
    """Read the headers once.

    Raises:
        UrlTooLong, HeadersTooLarge: the URL or the headers exceed their limits.
        RequestError: there are two Host headers; a proxy before this server may have used the other one.
        Forbidden: there are two Origin headers.
    """
    url_bytes = len(scope.get("raw_path") or scope["path"]) + len(scope["query_string"])
    if url_bytes > MAX_URL_BYTES:
        raise UrlTooLong(f"the URL is longer than {MAX_URL_BYTES} bytes", max_bytes=MAX_URL_BYTES)
    headers: list[Header] = scope["headers"]
    if len(headers) > MAX_HEADER_FIELDS:
        raise HeadersTooLarge(f"the request has more than {MAX_HEADER_FIELDS} header fields")
    host = origin = None
    is_preflight = False
    size = 0
    for name, value in headers:
        size += len(name) + len(value)
        if name == b"host":
            if host is not None:
                raise RequestError("the request has more than one Host header")
            host = value
        elif name == b"origin":
            if origin is not None:
                raise Forbidden("the request has more than one Origin header")
            origin = value
        elif name == b"access-control-request-method":
            is_preflight = scope["method"] == "OPTIONS"
    if size > MAX_HEADER_BYTES:
        raise HeadersTooLarge(f"the request's header is larger than {MAX_HEADER_BYTES} bytes")
    return _Head(host, origin, is_preflight and origin is not None)


def _dressed(send: Send, added: tuple[Header, ...]) -> Send:
    """Return a `send` that adds headers to the response. It is no coroutine, so each later message costs one call."""

    def send_dressed(message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            headers: list[Header] = list(message.get("headers", ()))
            present = {name for name, _ in headers}
            headers += [header for header in SECURITY_HEADERS if header[0] not in present]
            message = {**message, "headers": headers + list(added)}
        return send(message)

    return send_dressed


def _is_health(scope: Scope) -> bool:
    path: str = scope["path"].removeprefix(scope.get("root_path", ""))
    return path.startswith("/health/")


def _is_same_origin(origin: bytes, host: bytes | None, scheme: str) -> bool:
    """Whether the origin is this server. Behind a proxy that terminates TLS, `scheme` http stands for https, too."""
    if host is None:
        return False
    schemes = (b"https",) if scheme == "https" else (b"http", b"https")
    return origin.lower() in [each + b"://" + host.lower() for each in schemes]


def _host_name(given: str) -> bytes:
    """Normalize a name of the allow-list for comparison: lower case, no port, IPv6 addresses in brackets."""
    name = given.strip().lower().encode()
    if name.count(b":") > 1 and not name.startswith(b"["):
        return b"[" + name + b"]"
    match = _HOST.fullmatch(name)
    return match[1] if match else name
