"""What the service tells of itself, and what it says to wrong methods."""

from pathlib import Path
from typing import Any

import pytest

from chatserve.core.errors import StoreError
from tests.routes.service import problem, serving


async def test_root_tells_the_chats_with_their_inputs_and_every_endpoint(tmp_path: Path) -> None:
    async with serving(tmp_path) as service, service.client() as client:
        told = (await client.get("/")).json()
        assert told["title"] == "chatserve"
        assert [chat["name"] for chat in told["chats"]] == ["echo", "tuples_echo", "multi"]
        echo, tuples, multi = told["chats"]
        assert echo["inputs"]["properties"]["loud"] == {"default": False, "title": "Loud", "type": "boolean"}
        assert (echo["history"], tuples["history"]) == ("messages", "tuples")
        assert (echo["yields"], echo["multimodal"], multi["multimodal"]) == ("snapshots", False, True)
        assert tuples["feedback"] == ["1", "2"]
        assert echo["url"] == "/chat/echo"
        endpoints = {(each["method"], each["path"]) for each in told["endpoints"]}
        assert {("POST", "/chat"), ("GET", "/sessions"), ("DELETE", "/sessions/{session_id}")} <= endpoints
        assert told["chatserve_version"]


async def test_live_is_told_whatever_the_store_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(tmp_path) as service, service.client() as client:
        monkeypatch.setattr(service.engine.store, "check", _unreachable)
        assert (await client.get("/health/live")).json() == {"status": "live"}


async def test_ready_is_503_while_the_store_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(tmp_path) as service, service.client() as client:
        assert (await client.get("/health/ready")).json() == {"status": "ready"}
        monkeypatch.setattr(service.engine.store, "check", _unreachable)
        response = await client.get("/health/ready")
        assert problem(response) == (503, "store_unavailable")
        assert response.headers["retry-after"]


async def _unreachable() -> None:
    raise StoreError("the store is away")


async def test_ready_is_503_while_draining(tmp_path: Path) -> None:
    async with serving(tmp_path) as service, service.client() as client:
        service.engine.refuse_turns()
        assert problem(await client.get("/health/ready")) == (503, "shutting_down")
        assert (await client.get("/health/live")).status_code == 200


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("/", "GET, HEAD, OPTIONS"),
        ("/chat", "OPTIONS, POST"),
        ("/sessions", "GET, HEAD, OPTIONS, POST"),
        ("/sessions/s_x", "DELETE, GET, HEAD, OPTIONS, PATCH"),
        ("/sessions/import", "OPTIONS, POST"),
    ],
)
async def test_wrong_method_is_405_and_options_204_with_every_method_of_the_path(
    path: str, allow: str, tmp_path: Path
) -> None:
    async with serving(tmp_path) as service, service.client() as client:
        refused = await client.request("TRACE", path)
        assert problem(refused) == (405, "method_not_allowed")
        told = await client.options(path)
        assert told.status_code == 204
        assert refused.headers["allow"] == told.headers["allow"] == allow


async def test_options_of_an_unknown_path_is_404(tmp_path: Path) -> None:
    async with serving(tmp_path) as service, service.client() as client:
        assert problem(await client.options("/nothing")) == (404, "route_unknown")


@pytest.mark.parametrize("path", ["/", "/health/live", "/openapi.json", "/sessions"])
async def test_head_has_the_headers_of_get(path: str, tmp_path: Path) -> None:
    async with serving(tmp_path) as service, service.client() as client:
        got, asked = await client.get(path), await client.head(path)
        assert asked.status_code == 200
        assert _stable(asked.headers) == _stable(got.headers)


def _stable(headers: Any) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name != "date"}
