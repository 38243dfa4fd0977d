"""What is refused outside of a protocol's endpoints: in which form, and with which advice."""

from pathlib import Path
from typing import Any

import pytest

from chatserve import ChatError, ChatServer
from tests.routes.service import serving

ANTHROPIC = {"anthropic-version": "2023-06-01"}
COMPLETIONS = "POST /v1/chat/completions"
JSON = {"content-type": "application/json"}

ASTRAY = {
    "/chat/completions": COMPLETIONS,
    "/v1/v1/chat/completions": COMPLETIONS,
    "/v1/chat/completions/": COMPLETIONS,
    "/v1/chat/completions/chat/completions": COMPLETIONS,
    "/api/v1/chat/completions": COMPLETIONS,
    "/openai/v1/chat/completions": COMPLETIONS,
    "/openai/embeddings": "POST /openai/chat/completions",
    "/v1/embeddings": COMPLETIONS,
    "/v1": COMPLETIONS,
    "/messages": "POST /v1/messages",
    "/v1/v1/messages": "POST /v1/messages",
    "/messages/count_tokens": "POST /v1/messages/count_tokens",
    "/responses": "POST /v1/responses",
    "/v1/v1/responses": "POST /v1/responses",
    "/responses/resp_1/cancel": "POST /v1/responses/{response_id}/cancel",
}


@pytest.mark.parametrize(("path", "right"), ASTRAY.items())
async def test_wrong_path_of_a_protocol_is_refused_with_the_right_one(tmp_path: Path, path: str, right: str) -> None:
    async with serving(tmp_path) as service, service.client() as client:
        response = await client.post(path, json={"model": "echo", "messages": [{"role": "user", "content": "hi"}]})
        assert response.status_code == 404
        message = response.json()["error"]["message"]
        assert right in message
        assert "path" in message or "below" in message


async def test_models_are_found_by_the_line_that_refuses_them_elsewhere(tmp_path: Path) -> None:
    async with serving(tmp_path) as service, service.client() as client:
        for path in ("/models", "/v1/v1/models", "/openai/v1/models"):
            assert "GET /v1/models" in (await client.get(path)).json()["error"]["message"], path


async def test_advice_has_the_prefix_of_the_mount(tmp_path: Path) -> None:
    async with serving(tmp_path) as service, service.client() as client:
        app = client._transport.app  # type: ignore[attr-defined]

        async def mounted(scope: Any, receive: Any, send: Any) -> None:
            await app({**scope, "root_path": "/bot", "path": f"/bot{scope['path']}"}, receive, send)

        client._transport.app = mounted  # type: ignore[attr-defined]
        refused = await client.post("/chat/completions", json={})
        assert "POST /bot/v1/chat/completions" in refused.json()["error"]["message"]


async def test_paths_that_no_protocol_has_get_no_advice(tmp_path: Path) -> None:
    async with serving(tmp_path) as service, service.client() as client:
        for path in ("/nothing", "/sessions/s_1/messages/nothing", "/chat/nobody", "/turns/t_1"):
            assert "the path to use" not in (await client.get(path)).text, path


REFUSED: list[tuple[str, str, dict[str, Any], int]] = [
    ("GET", "/nothing", {}, 404),
    ("DELETE", "/chat", {}, 405),
    ("DELETE", "/v1/chat/completions", {}, 405),
    ("POST", "/chat", {"content": b"{}", "headers": {"content-type": "text/xml"}}, 415),
    ("POST", "/chat", {"content": b"{}", "headers": JSON}, 422),
    ("POST", "/chat", {"content": b"{", "headers": JSON}, 400),
    ("POST", "/chat/nobody", {"json": {"message": "hi"}}, 404),
    ("GET", "/", {"headers": {"host": "evil.example"}}, 421),
    ("POST", "/v1/chat/completions", {"headers": {"host": "evil.example"}}, 421),
    ("POST", "/chat", {"headers": {"origin": "http://evil.example"}}, 403),
    ("GET", f"/{'x' * 9000}", {}, 414),
    ("GET", "/", {"headers": {"x-long": "x" * 40_000}}, 431),
    ("GET", "/turns/t_1", {}, 404),
    ("POST", "/v1/chat/completions", {"json": {"messages": []}}, 400),
    ("POST", "/v1/responses", {"json": {"input": 7}}, 400),
]


@pytest.mark.parametrize(("method", "path", "options", "status"), REFUSED)
async def test_every_refusal_has_the_member_that_openais_clients_show(
    tmp_path: Path, method: str, path: str, options: dict[str, Any], status: int
) -> None:
    async with serving(tmp_path) as service, service.client() as client:
        response = await client.request(method, path, **options)
        document = response.json()
        assert response.status_code == status
        assert {"message", "type", "code"} <= document["error"].keys()
        assert document.get("detail", document["error"]["message"]) == document["error"]["message"] != ""
        assert document.get("code", document["error"]["code"]) == document["error"]["code"]


@pytest.mark.parametrize(("method", "path", "options", "status"), REFUSED)
async def test_anthropics_clients_are_refused_in_their_own_form_everywhere(
    tmp_path: Path, method: str, path: str, options: dict[str, Any], status: int
) -> None:
    async with serving(tmp_path) as service, service.client() as client:
        options = {**options, "headers": {**ANTHROPIC, **options.get("headers", {})}}
        response = await client.request(method, path, **options)
        document = response.json()
        assert response.status_code == (400 if status == 422 else status)
        assert (document["type"], set(document["error"])) == ("error", {"type", "message", "details"})
        assert response.headers["x-should-retry"] == "false"


async def test_header_means_nothing_where_anthropics_protocol_is_not_served(tmp_path: Path) -> None:
    async with serving(tmp_path, protocols=("openai_chat",)) as service, service.client() as client:
        refused = await client.get("/nothing", headers=ANTHROPIC)
        assert refused.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("path", ["/gradio_api/queue/join", "/gradio_api/nothing", "/queue/join", "/gradio_api/info"])
async def test_gradios_paths_keep_the_error_a_text(tmp_path: Path, path: str) -> None:
    async with serving(tmp_path) as service, service.client() as client:
        foreign = await client.post(path, headers={"host": "evil.example"})
        missing = await client.delete(path)
        assert (foreign.status_code, missing.status_code in (404, 405)) == (421, True)
        assert "evil.example" in foreign.json()["error"]
        assert isinstance(missing.json()["error"], str)


@pytest.mark.parametrize(("chosen", "native", "others"), [({}, 422, 400), ({"status_code": 422}, 422, 422)])
async def test_status_of_a_chat_error_follows_the_protocol_unless_chosen(
    tmp_path: Path, chosen: dict[str, Any], native: int, others: int
) -> None:
    app = ChatServer(store="memory://", files_dir=str(tmp_path))

    @app.chat
    def echo(message: str, history: list[Any]) -> str:
        raise ChatError("not today", **chosen)

    async with serving(tmp_path) as service, service.client() as client:
        service.app.chats["echo"] = app.chats["echo"]
        hi = [{"role": "user", "content": "hi"}]
        asked = {
            "/chat": {"message": "hi"},
            "/v1/chat/completions": {"messages": hi},
            "/v1/responses": {"input": "hi"},
            "/v1/messages": {"messages": hi, "max_tokens": 9},
        }
        answers = {path: await client.post(path, json=body) for path, body in asked.items()}
        assert {path: each.status_code for path, each in answers.items()} == {
            path: native if path == "/chat" else others for path in asked
        }
        assert all(each.json()["error"]["message"] == "not today" for each in answers.values())
