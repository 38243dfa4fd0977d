"""History operations, one after the other and at once, against a model: there is always an order that explains them."""

import asyncio
import tempfile
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from chatserve import ChatServer
from tests.faults.history_model import Answer, Model, Node, Request, answer_text, explain

KINDS = ("send", "send", "send", "retry", "edit", "undo", "undo", "clear", "like")
SPECS = st.tuples(st.sampled_from(KINDS), st.integers(0, 9), st.sampled_from(("any", "any", "current", "stale")))
WAIT_S = 20


class Sessions(RuleBasedStateMachine):
    """A served session beside its model."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.app = ChatServer(store=f"sqlite:///{self.folder.name}/chat.db")
        self.app.chat(name="predict")(predict)
        self.runner = asyncio.Runner()
        self.model = Model()
        self.session_id = ""
        self.texts = iter(f"m{number}" for number in range(10_000))
        transport = httpx2.ASGITransport(app=self.app)
        self.client = httpx2.AsyncClient(transport=transport, base_url="http://localhost")
        self.runner.run(self._start())

    async def _start(self) -> None:
        await self.app.start()

    def teardown(self) -> None:
        self.runner.run(self.app.stop())
        self.runner.close()
        self.folder.cleanup()

    # asking

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> httpx2.Response:
        return self.runner.run(self._ask(method, path, body, headers))

    async def _ask(self, method: str, path: str, body: Any = None, headers: Any = None) -> httpx2.Response:
        return await asyncio.wait_for(self.client.request(method, path, json=body, headers=headers), WAIT_S)

    def request_of(self, spec: tuple[str, int, str]) -> Request:
        """Return a request as it is drawn; it may name a message that is not fit for it."""
        kind, place, match = spec
        named = {"retry": place % 2, "edit": 1, "like": 1}.get(kind, 0)
        target = None
        if named and self.model.nodes:
            target = self.model.nodes[-1 - place % len(self.model.nodes)].message_id
        elif named and kind != "retry":
            target = "m_none"
        version = {"any": None, "current": self.model.version, "stale": self.model.version - 1}[match]
        return Request(kind, target, next(self.texts) if kind in {"send", "edit"} else "", version)

    async def perform(self, request: Request) -> None:
        """Send a request and note what it was answered."""
        method, path, body = self._wire(request)
        match = {} if request.if_version is None else {"If-Match": f'"{request.if_version}"'}
        response = await self._ask(method, path, body, match)
        version = int(response.headers["etag"].strip('"')) if "etag" in response.headers else None
        prompt = None
        if request.starts_turn and response.status_code == 200:
            prompt = (await self._ask("GET", f"/turns/{response.json()['turn_id']}")).json()["user_message"]
        request.answer = Answer(response.status_code, response.json(), version, prompt)

    def _wire(self, request: Request) -> tuple[str, str, Any]:
        session = f"/sessions/{self.session_id}"
        match request.kind:
            case "send":
                return "POST", "/chat", {"message": request.text, "session_id": self.session_id}
            case "retry":
                return "POST", f"{session}/retry", {"message_id": request.target} if request.target else {}
            case "edit":
                return "POST", f"{session}/edit", {"message_id": request.target, "message": request.text}
            case "like":
                return "POST", f"/messages/{request.target}/feedback", {"value": "like"}
            case "clear":
                return "DELETE", f"{session}/messages", None
            case _:
                return "POST", f"{session}/{request.kind}", None

    def see(self) -> Model:
        """Return what is there: all messages, the branch, the version."""
        rows = self.ask("GET", f"/sessions/{self.session_id}/messages?branches=true&limit=1000").json()["items"]
        response = self.ask("GET", f"/sessions/{self.session_id}/messages?limit=1000")
        branch = [each["message_id"] for each in response.json()["items"]]
        nodes = tuple(Node(each["message_id"], each["role"], each["content"], each["parent_id"]) for each in rows)
        seen = Model(nodes, branch[-1] if branch else None, int(response.headers["etag"].strip('"')))
        assert [node.message_id for node in seen.branch(seen.head)] == branch
        return seen

    def explained(self, *requests: Request) -> None:
        """Go on from what was seen, if the model explains it."""
        seen = self.see()
        after = explain(self.model, requests, seen)
        assert after is not None, f"from {self.model}\nby {requests}\ncame {seen}"
        self.model = after

    # rules

    @initialize(seeded=st.booleans())
    def create(self, seeded: bool) -> None:
        history = [{"role": "user", "content": "s1"}, {"role": "assistant", "content": "s2"}] if seeded else []
        self.session_id = self.ask("POST", "/sessions", {"history": history}).json()["session_id"]
        self.model = self.see()
        assert [(node.role, node.text) for node in self.model.nodes] == [tuple(each.values()) for each in history]
        assert self.model.version == 1

    @rule(spec=SPECS)
    def one(self, spec: tuple[str, int, str]) -> None:
        request = self.request_of(spec)
        self.runner.run(self.perform(request))
        self.explained(request)

    @rule(specs=st.lists(SPECS, min_size=2, max_size=4))
    def several_at_once(self, specs: list[tuple[str, int, str]]) -> None:
        requests = [self.request_of(spec) for spec in specs]

        async def perform_all() -> None:
            await asyncio.gather(*map(self.perform, requests))

        self.runner.run(perform_all())
        self.explained(*requests)

    @precondition(lambda self: self.model.nodes)
    @rule(place=st.integers(0, 9), goes_on_there=st.booleans())
    def fork(self, place: int, goes_on_there: bool) -> None:
        node = self.model.nodes[-1 - place % len(self.model.nodes)]
        response = self.ask("POST", f"/sessions/{self.session_id}/fork", {"message_id": node.message_id})
        assert response.status_code == 201
        self.explained()
        source, original = self.session_id, self.model
        self.session_id = response.json()["session_id"]
        copy = self.see()
        assert copy.version == 1
        assert _spoken(copy.branch(copy.head)) == _spoken(original.branch(node.message_id)) == _spoken(copy.nodes)
        assert not {node.message_id for node in copy.nodes} & {node.message_id for node in original.nodes}
        self.session_id, self.model = (self.session_id, copy) if goes_on_there else (source, original)

    @rule(new_ids=st.booleans())
    def export_and_import(self, new_ids: bool) -> None:
        exported = self._export()
        if new_ids:
            response = self.ask("POST", "/sessions/import?new_ids=true", exported)
        else:
            assert self.ask("POST", "/sessions/import", exported).status_code == 409
            assert self.ask("DELETE", f"/sessions/{self.session_id}").status_code == 204
            response = self.ask("POST", "/sessions/import", exported)
        assert response.status_code == 201, response.text
        self.session_id = response.json()["session_id"]
        again = self._export()
        assert _numbered(again) == _numbered(exported)
        assert new_ids or again == exported
        self.model = self.see() if new_ids else self.model
        self.explained()

    def _export(self) -> dict[str, Any]:
        document: dict[str, Any] = self.ask("GET", f"/sessions/{self.session_id}/export").json()
        del document["exported_at"]
        return document


def _spoken(nodes: Any) -> list[tuple[str, str]]:
    return [(node.role, node.text) for node in nodes]


def _numbered(document: Any) -> Any:
    """Return a document with its ids numbered in the order of their first mention."""
    numbers: dict[str, int] = {}

    def renamed(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: renamed(each) for key, each in value.items()}
        if isinstance(value, list):
            return [renamed(each) for each in value]
        is_id = isinstance(value, str) and value[:2] in {"s_", "t_", "m_"}
        return numbers.setdefault(value, len(numbers)) if is_id else value

    return renamed(document)


async def predict(message: str, history: list[dict[str, str]]) -> str:
    await asyncio.sleep(0)
    return answer_text(message, [entry["content"] for entry in history])


def examples(count: int) -> settings:
    """Return settings for so many runs. What happens at once cannot be repeated, so nothing is shrunk."""
    phases = (Phase.explicit, Phase.generate)
    return settings(
        max_examples=count,
        stateful_step_count=25,
        deadline=None,
        phases=phases,
        suppress_health_check=list(HealthCheck),
    )


class TestHistory(Sessions.TestCase):  # type: ignore[misc, valid-type] # hypothesis makes the class as it runs
    settings = examples(40)


@pytest.mark.storm
@pytest.mark.timeout(600)
class TestManyHistories(Sessions.TestCase):  # type: ignore[misc, valid-type]
    settings = examples(500)
