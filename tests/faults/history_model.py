"""What a session should do, in its simplest form, and requests as steps that can be explained by it.

A turn is two steps, its begin and its end, for other requests may fall between them; anything else is one. What
clients saw of requests made at once is right when some order of all their steps explains every answer and what is
there afterwards. Knows no server: ids are taken from the answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any


@dataclass(frozen=True)
class Node:
    """A message in the tree."""

    message_id: str
    role: str
    text: str
    parent: str | None


@dataclass(frozen=True)
class Model:
    """A session: its messages in the order of their making, the head of its branch, its version, the turn that runs."""

    nodes: tuple[Node, ...] = ()
    head: str | None = None
    version: int = 1
    running: Node | None = None

    def find(self, message_id: str | None) -> Node | None:
        return next((node for node in self.nodes if node.message_id == message_id), None)

    def branch(self, head: str | None) -> list[Node]:
        """Return the messages from the first to `head`."""
        found: list[Node] = []
        while (node := self.find(head)) is not None:
            found.insert(0, node)
            head = node.parent
        return found

    def prompt(self, message_id: str | None) -> Node | None:
        """Return the last user message of the branch that ends there."""
        return next((node for node in reversed(self.branch(message_id)) if node.role == "user"), None)

    def moved(self, head: str | None) -> Model:
        return replace(self, head=head, version=self.version + 1)

    def with_node(self, node: Node) -> Model:
        return replace(self, nodes=(*self.nodes, node))


def answer_text(message: str, history: Sequence[str]) -> str:
    """Return what the function answers: it tells its message, and what it was given before it."""
    return f"{message}: {sha256(repr(list(history)).encode()).hexdigest()[:12]}"


@dataclass(frozen=True)
class Answer:
    """What a request was answered with; `prompt` is the user message of the turn it started."""

    status: int
    value: Any
    version: int | None = None
    prompt: dict[str, Any] | None = None

    @property
    def code(self) -> str:
        return str(self.value.get("code"))


@dataclass
class Request:
    """A request to the session: `kind`, the message it names, its text, the version it is meant for."""

    kind: str
    target: str | None = None
    text: str = ""
    if_version: int | None = None
    answer: Answer = field(default_factory=lambda: Answer(0, None))

    @property
    def starts_turn(self) -> bool:
        return self.kind in {"send", "retry", "edit"}

    def begin(self, model: Model) -> Model | None:
        """Return the model after the request, or its begin; None when that is not what was answered."""
        refusals = set(self._refusals(model))
        if refusals or self.answer.status != 200:
            return model if (self.answer.status, self.answer.code) in refusals else None
        return self._begin_turn(model) if self.starts_turn else self._move(model)

    def _refusals(self, model: Model) -> Iterator[tuple[int, str]]:
        """Tell why the request cannot be granted; which of several reasons is told does not matter."""
        if self.kind in {"retry", "edit", "like"} and not self._has_target(model):
            yield 404, "message_unknown"
            if self.target is None:
                yield 409, "nothing_to_undo"
        if self.if_version not in {None, model.version}:
            yield 412, "version_conflict"
        if model.running is not None and self.kind != "like":
            yield 409, "session_busy"
        if self.kind == "undo" and model.prompt(model.head) is None:
            yield 409, "nothing_to_undo"

    def _has_target(self, model: Model) -> bool:
        if self.kind == "retry":
            return model.prompt(self.target or model.head) is not None
        node = model.find(self.target)
        return node is not None and node.role == ("user" if self.kind == "edit" else "assistant")

    def _move(self, model: Model) -> Model | None:
        if self.kind == "undo":
            prompt = model.prompt(model.head)
            assert prompt is not None
            if self.answer.value["message"]["message_id"] != prompt.message_id:
                return None
            model = model.moved(prompt.parent)
        else:
            model = model.moved(None if self.kind == "clear" else model.head)
        return model if self.answer.version == model.version else None

    def _begin_turn(self, model: Model) -> Model | None:
        prompt = self.answer.prompt
        assert prompt is not None
        if self.kind == "retry":
            node = model.prompt(self.target or model.head)
            if node is None or prompt["message_id"] != node.message_id:
                return None
            return replace(model.moved(node.message_id), running=node)
        target = model.find(self.target)
        node = Node(prompt["message_id"], "user", self.text, model.head if target is None else target.parent)
        if (prompt["content"], prompt["parent_id"]) != (node.text, node.parent):
            return None
        return replace(model.with_node(node).moved(node.message_id), running=node)

    def end(self, model: Model) -> Model | None:
        """Return the model after the end of the turn."""
        prompt = model.running
        assert prompt is not None
        (message,) = self.answer.value["messages"]
        history = [node.text for node in model.branch(prompt.parent)]
        node = Node(message["message_id"], "assistant", answer_text(prompt.text, history), prompt.message_id)
        model = replace(model.with_node(node).moved(node.message_id), running=None)
        told = (message["content"], message["parent_id"], self.answer.value["version"])
        return model if told == (node.text, node.parent, model.version) else None


def explain(model: Model, requests: Sequence[Request], seen: Model) -> Model | None:
    """Return the model after the requests in an order that explains them and what is `seen` afterwards, or None."""
    return _explain(model, tuple(requests), None, seen)


def _explain(model: Model, waiting: tuple[Request, ...], running: Request | None, seen: Model) -> Model | None:
    if not waiting and running is None:
        return model if model == seen else None
    if running is not None:
        after = running.end(model)
        if after is not None and (found := _explain(after, waiting, None, seen)) is not None:
            return found
    for request in waiting:
        after = request.begin(model)
        if after is None:
            continue
        now_running = request if request.starts_turn and request.answer.status == 200 else running
        rest = tuple(other for other in waiting if other is not request)
        if (found := _explain(after, rest, now_running, seen)) is not None:
            return found
    return None
