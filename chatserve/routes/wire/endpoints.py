"""Routes of all wire formats: choose the endpoint for a request and read the request for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from chatserve.chat_function import Chat
from chatserve.contracts.wire import ChatProfile, Endpoint, RawRequest, WireFormat
from chatserve.core.errors import ChatserveError
from chatserve.core.types import Json
from chatserve.engine import TurnEngine
from chatserve.routes.files import FileRoutes
from chatserve.routes.http.refusals import Refusals
from chatserve.routes.http.requests import headers_of, owner_of, read_body
from chatserve.routes.wire.replies import Replies
from chatserve.routes.wire.steps import Exchange
from chatserve.stores.file_folder import FileFolder

FILES_FIELD: Final = "files"


@dataclass(frozen=True, slots=True)
class Offer:
    """An endpoint and the format it belongs to."""

    wire_format: WireFormat
    endpoint: Endpoint


class WireRoutes:
    """Routes of wire formats."""

    def __init__(
        self,
        engine: TurnEngine,
        chats: Mapping[str, Chat],
        files: FileFolder,
        formats: Sequence[WireFormat],
        refusals: Refusals,
    ) -> None:
        self._engine = engine
        self._refusals = refusals
        self._files = files
        self._uploads = FileRoutes(engine, files)
        self._replies = Replies(engine, self._uploads)
        self._profiles = {name: profile_of(chat) for name, chat in chats.items()}
        self._formats = formats
        self._started_at = engine.clock()

    def routes(self) -> list[Route]:
        """Return a route per method and path; a header distinguishes formats that share one."""
        offers: dict[tuple[str, str], list[Offer]] = {}
        for wire_format in self._formats:
            for endpoint in wire_format.endpoints:
                offers.setdefault((endpoint.method, endpoint.path), []).append(Offer(wire_format, endpoint))
        return [Route(path, self._handler(each), methods=[method]) for (method, path), each in offers.items()]

    def describe(self) -> dict[str, Json]:
        """Return the public description of the protocols: their endpoints, by name."""
        return {
            wire_format.name: [
                {"method": endpoint.method, "path": endpoint.public_path, "summary": endpoint.summary}
                for endpoint in wire_format.endpoints
            ]
            for wire_format in self._formats
        }

    def _handler(self, offers: Sequence[Offer]) -> Callable[[Request], Awaitable[Response]]:
        by_header = sorted(offers, key=lambda offer: offer.endpoint.header is None)

        async def handle(request: Request) -> Response:
            return await self._answer(request, _chosen(by_header, request))

        return handle

    async def _answer(self, request: Request, offer: Offer) -> Response:
        wire_format, endpoint = offer.wire_format, offer.endpoint
        raw = self._raw_request(request)
        try:
            raw = await self._read(request, raw, endpoint)
            exchange = Exchange(self._engine, self._files, wire_format.name, request, raw)
            reply = await exchange.run(endpoint.handle(raw))
            return await self._replies.respond(request, reply, exchange)
        except ChatserveError as error:
            refusing = self._refusals.format_of(request) or wire_format
            return await self._replies.respond(request, refusing.refuse(error, raw))

    def _raw_request(self, request: Request) -> RawRequest:
        return RawRequest(
            method=request.method,
            path=request.scope["path"],
            chats=self._profiles,
            request_id=self._engine.new_id("req_"),
            now=self._engine.clock(),
            started_at=self._started_at,
            owner=owner_of(request),
            base_url=str(request.base_url).rstrip("/"),
            path_params=request.path_params,
            query=dict(request.query_params),
            headers=headers_of(request),
        )

    async def _read(self, request: Request, raw: RawRequest, endpoint: Endpoint) -> RawRequest:
        if endpoint.method == "GET":
            return raw
        if endpoint.takes == "files":
            stored = await self._uploads.receive_all(request, FILES_FIELD)
            return replace(raw, files=tuple(file.part for file in stored))
        settings = self._engine.settings
        body = await read_body(request, max_bytes=settings.max_history_body_bytes)
        return replace(raw, body=body, max_json_depth=settings.max_json_depth)


def _chosen(offers: Sequence[Offer], request: Request) -> Offer:
    for offer in offers:
        if offer.endpoint.header is not None and offer.endpoint.header in headers_of(request):
            return offer
    return offers[-1]


def profile_of(chat: Chat) -> ChatProfile:
    """Return the public description of a chat."""
    options = chat.options
    return ChatProfile(
        name=options.name,
        title=options.title,
        description=options.description,
        inputs=chat.inputs_schema,
        input_names=chat.input_names,
        takes_files=options.multimodal,
        aliases=options.aliases,
    )
