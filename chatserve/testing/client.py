"""`ChatClient`: an application, its sessions and their turns, in the test's own process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any
from urllib.parse import quote

from chatserve.app import ChatServer
from chatserve.codec import dumps
from chatserve.testing.exchange import Exchange, LoopThread, Request, Response
from chatserve.testing.turn import ChatTurn

SUCCESS = range(200, 300)


class RequestRefused(Exception):
    """A request was answered with an error: its `status`, and the `code` and `detail` of its problem document."""

    def __init__(self, response: Response) -> None:
        self.response = response
        self.status = response.status
        self.problem: Mapping[str, Any] = response.json if "json" in response.headers.get("content-type", "") else {}
        self.code: str = self.problem.get("code", "")
        self.detail: str = self.problem.get("detail", response.text)
        super().__init__(f"{self.status} {self.code}: {self.detail}")


class ChatClient:
    """Serves a `ChatServer`, or a single chat function, to a test. Use it as a context manager.

    Args:
        served: the application, which is not changed, or a chat function.
        timeout_s: how long any wait may take.
        **settings: settings that differ in the test. The store is `memory://` unless another one is given.
    """

    def __init__(self, served: ChatServer | Callable[..., Any], *, timeout_s: float = 10, **settings: Any) -> None:
        self._served = served
        self._settings = settings
        self._timeout_s = timeout_s

    def __enter__(self) -> ChatClient:
        self._folder = TemporaryDirectory(prefix="chatserve-")
        self._app = _application(self._served, {"files_dir": self._folder.name} | self._settings)
        self._thread = LoopThread()
        self._thread.start()
        try:
            self._thread.run(self._app.start(), self._timeout_s, "opening the application")
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._thread.run(self._app.stop(), self._timeout_s, "closing the application")
        finally:
            self._close()

    def _close(self) -> None:
        try:
            self._thread.close(self._timeout_s)
        finally:
            self._folder.cleanup()

    def session(self, session_id: str | None = None, *, chat: str | None = None) -> ChatSession:
        """Return a session: a new one, which is created with its first turn, or the one with this id."""
        return ChatSession(self, session_id, chat)

    def get(self, path: str, **options: Any) -> Response:
        """Send a GET; see `request`."""
        return self.request("GET", path, **options)

    def post(self, path: str, json: Any = None, **options: Any) -> Response:
        """Send a POST, with `json` as its body; see `request`."""
        return self.request("POST", path, json=json, **options)

    def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> Response:
        """Send a request and return the whole response, whatever its status. Raises: TimeoutError."""
        exchange = self.open(method, path, json=json, body=body, headers=headers)
        try:
            return exchange.response(self._timeout_s if timeout_s is None else timeout_s)
        finally:
            exchange.leave()

    def open(
        self, method: str, path: str, *, json: Any = None, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Exchange:
        """Send a request and return at once: the response arrives while the test continues."""
        own = {"host": _host(self._app)}
        if json is not None:
            body, own["content-type"] = dumps(json), "application/json"
        if body:
            own["content-length"] = str(len(body))
        given = {name.lower(): value for name, value in (headers or {}).items()}
        return Exchange(self._thread, self._app, Request(method, path, own | given, body))

    def start_turn(self, path: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> ChatTurn:
        """Start a turn at any path that starts one. Raises: RequestRefused, TimeoutError."""
        exchange = self.open("POST", path, json=body, headers={"accept": "text/event-stream"} | dict(headers or {}))
        exchange.wait_until(lambda: exchange.status is not None, self._timeout_s)
        if exchange.status not in SUCCESS:
            raise RequestRefused(exchange.response(self._timeout_s))
        return ChatTurn(exchange, self.post, self._timeout_s)


class ChatSession:
    """A session of a client. `session_id` is None until its first turn is accepted."""

    def __init__(self, client: ChatClient, session_id: str | None, chat: str | None) -> None:
        self.session_id = session_id
        self._client = client
        self._path = "/chat" if chat is None else f"/chat/{quote(chat, safe='')}"

    def start(self, message: Any, *, headers: Mapping[str, str] | None = None, **fields: Any) -> ChatTurn:
        """Start a turn and return once it is accepted; `fields` are further fields of the body, such as `inputs`.

        Raises:
            RequestRefused: the turn was not accepted.
        """
        body = {"message": message, **fields}
        if self.session_id is not None:
            body["session_id"] = self.session_id
        turn = self._client.start_turn(self._path, body, headers)
        self.session_id = turn.session_id or self.session_id
        return turn

    def send(self, message: Any, **fields: Any) -> ChatTurn:
        """Start a turn and wait for its end. Raises: as `start`; TimeoutError."""
        return self.start(message, **fields).wait()

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The messages of the session, from the first to the last."""
        if self.session_id is None:
            return []
        found: list[dict[str, Any]] = []
        after = ""
        while True:
            page = self._answered("GET", f"messages?limit=1000{after}").json
            found += page["items"]
            if page["next"] is None:
                return found
            after = f"&after={page['next']}"

    def undo(self) -> Any:
        """Undo the last turn; return the server's answer. Raises: RequestRefused."""
        return self._answered("POST", "undo").json

    def retry(self) -> ChatTurn:
        """Answer the last message again. Raises: RequestRefused."""
        return self._client.start_turn(self._at("retry"), {})

    def edit(self, message_id: str, message: Any) -> ChatTurn:
        """Replace a message of the user and answer the new one. Raises: RequestRefused."""
        return self._client.start_turn(self._at("edit"), {"message_id": message_id, "message": message})

    def stop(self) -> Any:
        """Stop the running and waiting turns; return the server's answer. Raises: RequestRefused."""
        return self._answered("POST", "stop").json

    def clear(self) -> None:
        """Clear the history. Raises: RequestRefused."""
        self._answered("DELETE", "messages")

    def _at(self, operation: str) -> str:
        if self.session_id is None:
            raise AssertionError(f"the session has no turn yet, so there is nothing to {operation}")
        return f"/sessions/{quote(self.session_id, safe='')}/{operation}"

    def _answered(self, method: str, operation: str) -> Response:
        response = self._client.request(method, self._at(operation))
        if response.status not in SUCCESS:
            raise RequestRefused(response)
        return response


def _application(served: ChatServer | Callable[..., Any], settings: Mapping[str, Any]) -> ChatServer:
    """Return an application for this test alone, with the chats and the settings of the one that is served."""
    if not isinstance(served, ChatServer):
        app = ChatServer(**{"store": "memory://"} | dict(settings))
        app.chat(served)
        return app
    own = served.settings.model_dump(exclude_unset=True) | {"store": "memory://"}
    app = ChatServer(served.title, served.description, **own | dict(settings))
    app.chats.update(served.chats)
    return app


def _host(app: ChatServer) -> str:
    first = next(iter(app.settings.allowed_hosts), "*")
    return "localhost" if first == "*" else first
