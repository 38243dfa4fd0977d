"""One session with a served example, that goes on when the server is started anew."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.support.server import Server, serve


class Conversation:
    """Takes turns with one chat of a server whose SQLite file outlives it."""

    def __init__(
        self, target: str, store: Path, env: Mapping[str, str], chat: str | None, python: Path | None = None
    ) -> None:
        self.server: Server
        self.session_id: str | None = None
        self._target, self._store, self._env, self._chat = target, store, env, chat
        self._python = python
        self._running = ExitStack()

    def ask(self, message: Any, **body: Any) -> str:
        """Take one turn and return the text of its answer."""
        text: str = self.take_turn(message, **body)["text"]
        return text

    def take_turn(self, message: Any, **body: Any) -> dict[str, Any]:
        """Take one turn and return all that it is answered with."""
        answer: dict[str, Any] = self.server.ask(message, self.session_id, chat=self._chat, **body)
        assert answer["status"] == "completed"
        self.session_id = answer["session_id"]
        return answer

    def restart(self) -> None:
        """End the server as a deployment does (SIGTERM) and start another one on the same file."""
        self._running.close()
        context = serve(self._target, "--store", f"sqlite:///{self._store}", env=self._env, python=self._python)
        self.server = self._running.enter_context(context)

    def history(self, history_format: str) -> list[Any]:
        """Return the whole history in this format, messages as (role, content)."""
        response = self.server.get(f"/sessions/{self.session_id}/messages?format={history_format}")
        assert response.status_code == 200, response.text
        items: list[Any] = response.json()["items"]
        return items if history_format == "tuples" else [(item["role"], item["content"]) for item in items]

    def upload(self, name: str, content: bytes) -> str:
        """Upload a file and return its id."""
        response = self.server.post("/files", params={"name": name}, content=content)
        assert response.status_code == 201, response.text
        file_id: str = response.json()["id"]
        return file_id


@contextmanager
def converse(
    target: str,
    tmp_path: Path,
    *,
    env: Mapping[str, str] | None = None,
    chat: str | None = None,
    python: Path | None = None,
) -> Iterator[Conversation]:
    """Serve `target` on a SQLite file in `tmp_path`, restartable, until the block ends. `python` is another Python."""
    conversation = Conversation(target, tmp_path / "chat.db", env or {}, chat, python)
    conversation.restart()
    with conversation._running:
        yield conversation
