"""What stands before every route: hosts, origins, sizes, CORS, headers of responses."""

from typing import Any

import pytest

from chatserve.core.errors import ConfigurationError
from chatserve.routes.http.guards import Guards
from chatserve.routes.http.refusals import Refusals
from chatserve.settings import Settings, read_settings

Headers = list[tuple[bytes, bytes]]


async def inner(scope: Any, receive: Any, send: Any) -> None:
    """An application that answers everything, with a header of its own where asked."""
    own = [(b"cache-control", b"private")] if scope["path"] == "/cached" else []
    await send({"type": "http.response.start", "status": 200, "headers": own})
    await send({"type": "http.response.body", "body": b"ok"})


async def ask(
    method: str = "GET",
    path: str = "/",
    headers: dict[str, str] | Headers | None = None,
    *,
    hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "[::1]"),
    origins: tuple[str, ...] = (),
    app: Any = inner,
    **scope: Any,
) -> tuple[int, dict[str, str]]:
    """Send a request with a good Host, unless `headers` is a list, and return status and headers of the answer."""
    pairs = headers if isinstance(headers, list) else [(b"host", b"localhost:8000"), *_encoded(headers or {})]
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    request = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": pairs, "scheme": "http"}
    settings = Settings.model_construct(allowed_hosts=hosts, cors_origins=origins, body_idle_s=1)
    await Guards(app, settings, Refusals(()))(request | scope, receive, send)
    return sent[0]["status"], {name.decode(): value.decode() for name, value in sent[0]["headers"]}


def _encoded(headers: dict[str, str]) -> Headers:
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


def host(*values: str) -> Headers:
    return [(b"host", value.encode()) for value in values]


# --- hosts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["localhost", "LOCALHOST:80", "127.0.0.1:8000", "[::1]", "[::1]:8000", "localhost:"])
async def test_listed_host_is_answered_whatever_the_port(value: str) -> None:
    assert (await ask(headers=host(value)))[0] == 200


@pytest.mark.parametrize(
    "value",
    [
        "evil.example",
        "localhost.evil.example",
        "evil.example:8000",
        "localhost@evil.example",
        "localhost/evil",
        "localhost?x",
        "localhost:80:80",
        "[::2]",
        "::1",
        "localhost.",
        "localhost evil",
        "",
        "*",
    ],
)
async def test_any_other_host_is_421(value: str) -> None:
    assert (await ask(headers=host(value)))[0] == 421


async def test_request_without_host_is_421() -> None:
    assert (await ask(headers=[]))[0] == 421


async def test_two_host_headers_are_refused_even_where_any_host_is_answered() -> None:
    assert (await ask(headers=host("localhost", "evil.example"), hosts=("*",)))[0] == 400
    assert (await ask(headers=host("localhost", "localhost")))[0] == 400


async def test_star_answers_any_host() -> None:
    assert (await ask(headers=host("anything.example"), hosts=("*",)))[0] == 200


@pytest.mark.parametrize("given", ["Chat.Example:443", "chat.example", " chat.example "])
async def test_host_names_of_the_setting_are_compared_without_case_and_port(given: str) -> None:
    assert (await ask(headers=host("CHAT.example:9"), hosts=(given,)))[0] == 200


async def test_ipv6_address_of_the_setting_needs_no_brackets() -> None:
    assert (await ask(headers=host("[fd00::1]:80"), hosts=("fd00::1",)))[0] == 200


@pytest.mark.parametrize(("path", "root_path"), [("/health/live", ""), ("/api/health/ready", "/api")])
async def test_health_is_answered_under_any_host(path: str, root_path: str) -> None:
    assert (await ask(path=path, headers=host("10.0.0.7"), root_path=root_path))[0] == 200


@pytest.mark.parametrize("path", ["/health", "/healthy", "/sessions/health/live", "//health/live"])
async def test_paths_like_health_are_not_exempt(path: str) -> None:
    assert (await ask(path=path, headers=host("10.0.0.7")))[0] == 421


# --- origins -----------------------------------------------------------------------------------------------------

UNSAFE = ("POST", "PUT", "PATCH", "DELETE", "QUERY")
FOREIGN = (
    "https://evil.example",
    "null",
    "http://localhost",
    "http://localhost:8001",
    "http://localhost:8000.evil.example",
    "ftp://localhost:8000",
    "localhost:8000",
    "",
)


@pytest.mark.parametrize("origin", FOREIGN)
@pytest.mark.parametrize("method", UNSAFE)
async def test_foreign_origin_may_change_nothing(method: str, origin: str) -> None:
    assert (await ask(method, headers={"Origin": origin}))[0] == 403


@pytest.mark.parametrize("origin", FOREIGN)
async def test_foreign_origin_may_ask_but_is_not_let_read(origin: str) -> None:
    status, headers = await ask("GET", headers={"Origin": origin})
    assert status == 200
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize("origin", ["http://localhost:8000", "https://localhost:8000", "http://LOCALHOST:8000"])
async def test_own_origin_may_change_things_also_behind_a_proxy_that_ends_tls(origin: str) -> None:
    assert (await ask("POST", headers={"Origin": origin}))[0] == 200


async def test_http_page_is_foreign_to_an_https_server() -> None:
    assert (await ask("POST", headers={"Origin": "http://localhost:8000"}, scheme="https"))[0] == 403


async def test_request_without_origin_is_no_browsers_and_is_let_through() -> None:
    assert (await ask("POST"))[0] == 200


async def test_two_origins_are_refused() -> None:
    origins = [(b"origin", b"http://localhost:8000"), (b"origin", b"https://evil.example")]
    assert (await ask("POST", headers=[*host("localhost:8000"), *origins]))[0] == 403


# --- CORS --------------------------------------------------------------------------------------------------------

APP = "https://app.example"
PREFLIGHT = {"Origin": APP, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}


async def test_listed_origin_may_change_things_and_read_the_answer() -> None:
    status, headers = await ask("POST", headers={"Origin": APP}, origins=(APP,))
    assert status == 200
    assert headers["access-control-allow-origin"] == APP
    assert headers["vary"] == "Origin"
    for name in ("ETag", "Location", "X-Turn-Id", "X-Session-Id", "Retry-After", "Idempotency-Replayed"):
        assert name in headers["access-control-expose-headers"]


async def test_preflight_of_a_listed_origin_names_methods_and_headers_and_reaches_no_route() -> None:
    async def unreachable(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("a preflight came through")

    status, headers = await ask("OPTIONS", headers=PREFLIGHT, origins=(APP,), app=unreachable)
    assert status == 204
    assert headers["access-control-allow-origin"] == APP
    assert "PATCH" in headers["access-control-allow-methods"]
    assert headers["access-control-allow-headers"] == "content-type"
    assert "access-control-allow-credentials" not in headers


@pytest.mark.parametrize(
    "asked", [{}, {"Access-Control-Request-Headers": "x-a, b\x01d"}, {"Access-Control-Request-Headers": ""}]
)
async def test_preflight_that_names_no_headers_is_told_the_usual_ones(asked: dict[str, str]) -> None:
    wanted = {"Origin": APP, "Access-Control-Request-Method": "POST"} | asked
    _, headers = await ask("OPTIONS", headers=wanted, origins=(APP,))
    for name in ("Content-Type", "Idempotency-Key", "If-Match", "Last-Event-ID", "Prefer", "Authorization"):
        assert name in headers["access-control-allow-headers"]


async def test_preflight_may_name_any_headers_of_a_client_library() -> None:
    wanted = PREFLIGHT | {"Access-Control-Request-Headers": "authorization,x-stainless-lang, anthropic-version"}
    _, headers = await ask("OPTIONS", headers=wanted, origins=(APP,))
    assert headers["access-control-allow-headers"] == "authorization,x-stainless-lang, anthropic-version"


@pytest.mark.parametrize("origins", [(), ("https://other.example",), (APP + ":8443",), (APP.replace("https", "http"),)])
async def test_preflight_of_any_other_origin_is_refused(origins: tuple[str, ...]) -> None:
    status, headers = await ask("OPTIONS", headers=PREFLIGHT, origins=origins)
    assert status == 403
    assert "access-control-allow-origin" not in headers


async def test_origin_is_never_reflected() -> None:
    status, headers = await ask("GET", headers={"Origin": APP + ".evil.example"}, origins=(APP,))
    assert status == 200
    assert "access-control-allow-origin" not in headers
    assert headers["vary"] == "Origin"


@pytest.mark.parametrize("origin", ["*", "null", "app.example", "https://app.example/", "https://*.example", ""])
def test_setting_that_is_no_origin_is_a_configuration_error(origin: str) -> None:
    with pytest.raises(ConfigurationError, match="cors_origins"):
        read_settings({"cors_origins": (origin,)}, {})


# --- sizes -------------------------------------------------------------------------------------------------------


async def test_more_than_100_header_fields_are_431() -> None:
    fields = [(b"x", b"1")] * 99
    assert (await ask(headers=host("localhost") + fields))[0] == 200
    assert (await ask(headers=host("localhost") + fields + [(b"x", b"1")]))[0] == 431


async def test_more_than_32_kib_of_header_are_431() -> None:
    room = 32 * 1024 - len("host") - len("localhost") - len("x")
    assert (await ask(headers=[*host("localhost"), (b"x", b"1" * room)]))[0] == 200
    assert (await ask(headers=[*host("localhost"), (b"x", b"1" * (room + 1))]))[0] == 431


@pytest.mark.parametrize("parts", [{"raw_path": b"/" + b"a" * 8192}, {"query_string": b"a" * 8192}])
async def test_url_longer_than_8_kib_is_414(parts: dict[str, Any]) -> None:
    assert (await ask(**parts))[0] == 414


async def test_url_of_8_kib_is_answered() -> None:
    assert (await ask(raw_path=b"/", query_string=b"a" * 8191))[0] == 200


# --- responses ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [host("localhost"), host("evil.example")], ids=["answered", "refused"])
async def test_every_response_has_the_security_headers(headers: Headers) -> None:
    _, answered = await ask(headers=headers)
    assert answered["x-content-type-options"] == "nosniff"
    assert answered["referrer-policy"] == "no-referrer"
    assert answered["cache-control"] == "no-store"
    assert answered["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert "server" not in answered


async def test_header_the_route_sets_itself_stays() -> None:
    assert (await ask(path="/cached"))[1]["cache-control"] == "private"


async def test_what_follows_the_head_is_passed_on_untouched() -> None:
    passed: list[Any] = []
    body = {"type": "http.response.body", "body": b"x", "more_body": False}

    async def streaming(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send(body)

    async def send(message: Any) -> None:
        passed.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": host("localhost")}
    await Guards(streaming, Settings(), Refusals(()))(scope, None, send)  # type: ignore[arg-type]
    assert passed[1] is body


async def test_what_is_no_http_is_passed_on() -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    await Guards(app, Settings(), Refusals(()))({"type": "websocket"}, None, None)  # type: ignore[arg-type]
    assert seen == ["websocket"]
