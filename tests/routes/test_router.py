"""Paths that are written out: answered as Starlette would, at their place, whatever the route raises."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from chatserve.core.errors import NotFound
from chatserve.routes.http.refusals import Refusals
from chatserve.routes.http.router import LiteralPaths


async def hello(request: Request) -> Response:
    return PlainTextResponse(f"{request.method} {request.url.path} {request.path_params} {request.app.state.name}")


async def by_name(request: Request) -> Response:
    return PlainTextResponse(f"by name: {request.path_params['name']}")


def raising(error: Exception) -> Callable[[Request], Awaitable[Response]]:
    async def fail(_request: Request) -> Response:
        raise error

    return fail


async def on_error(request: Request, error: Exception) -> Response:
    return Refusals(()).respond(request, error)


ROUTES = [
    Route("/hello", hello, methods=["GET"]),
    Route("/hello", by_name, methods=["GET"]),
    Route("/refused", raising(NotFound("there is no such thing")), methods=["POST"]),
    Route("/unreadable", raising(HTTPException(400, "not a form")), methods=["POST"]),
    Route("/bug", raising(ZeroDivisionError("a secret")), methods=["POST"]),
    Route("/{name}", by_name, methods=["GET", "POST"]),
]


def application() -> LiteralPaths:
    handlers: Any = dict.fromkeys((NotFound, HTTPException, Exception), on_error)
    starlette = Starlette(routes=ROUTES, exception_handlers=handlers)
    starlette.state.name = "of the app"
    return LiteralPaths(starlette, ROUTES, Refusals(()))


async def ask(app: Any, method: str, path: str) -> httpx2.Response:
    transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.request(method, path)


async def test_first_route_of_a_path_answers_and_finds_its_application() -> None:
    assert (await ask(application(), "GET", "/hello")).text == "GET /hello {} of the app"


async def test_head_is_answered_where_get_is() -> None:
    assert (await ask(application(), "HEAD", "/hello")).status_code == 200


async def test_paths_with_parameters_are_left_to_the_application() -> None:
    assert (await ask(application(), "GET", "/ada")).text == "by name: ada"


async def test_other_methods_of_a_path_are_left_to_the_application() -> None:
    assert (await ask(application(), "POST", "/hello")).text == "by name: hello"
    refused = await ask(application(), "DELETE", "/hello")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD, OPTIONS")


async def test_mounted_application_is_asked_below_its_path() -> None:
    mounted = Starlette(routes=[Mount("/chat", application())])
    assert (await ask(mounted, "GET", "/chat/hello")).text == "GET /chat/hello {} of the app"


@pytest.mark.parametrize(
    ("path", "status", "code"), [("/refused", 404, "not_found"), ("/unreadable", 400, "bad_request")]
)
async def test_errors_that_routes_raise_become_problems(path: str, status: int, code: str) -> None:
    response = await ask(application(), "POST", path)
    assert (response.status_code, response.json()["code"]) == (status, code)


async def test_bug_is_answered_without_its_text_and_is_logged_and_raised(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "chatserve.http"):
        response = await ask(application(), "POST", "/bug")
    assert (response.status_code, response.json()["code"]) == (500, "internal_error")
    assert "secret" not in response.text
    assert response.json()["error_id"] in caplog.text
    with pytest.raises(ZeroDivisionError):
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(application()), base_url="http://test") as client:
            await client.post("/bug")
