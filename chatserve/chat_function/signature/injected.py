"""The parameters that are given the turn: a table of their kinds, how each is recognized, and what it is given.

They are recognized by name, so neither Starlette nor Gradio is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, TypeAlias

from chatserve.chat_function.context import ChatContext
from chatserve.chat_function.signature.parameters import Parameter, class_named, plain_type, takes_none
from chatserve.chat_function.signature.stand_ins import GradioProgress, GradioRequest
from chatserve.core.frozen import frozen

Kind: TypeAlias = Literal["ChatContext", "Request", "gr.Request", "gr.Progress", "gr.Header", "nothing"]


@frozen
class Surroundings:
    """What a call may be given besides its message, history and inputs.

    `context` may be None if the signature needs none. `request` is None while examples are answered at the start.
    `session_hash` is what a client of Gradio calls the session.
    """

    context: ChatContext | None = None
    request: Any = None
    session_hash: str | None = None


GRADIO: Final[Mapping[str, Kind]] = {
    "Request": "gr.Request",
    "Progress": "gr.Progress",
    "Header": "gr.Header",
    "OAuthProfile": "nothing",
    "OAuthToken": "nothing",
    "EventData": "nothing",
}
"""Gradio's classes. The last three tell of its page, which is not there: None, where the annotation allows it."""


def injected_kind(parameter: Parameter) -> Kind | None:
    """Return what the parameter is given, or None if it is no injected parameter."""
    kind = _kind_of(plain_type(parameter.annotation)) or _gradio_kind(type(parameter.default))
    if kind == "nothing" and not (takes_none(parameter.annotation) or parameter.default is None):
        return None
    return kind


def _kind_of(annotation: Any) -> Kind | None:
    if isinstance(annotation, str):
        return _kind_named(annotation)
    if not isinstance(annotation, type):
        return None
    if issubclass(annotation, ChatContext):
        return "ChatContext"
    if class_named(annotation, {"HTTPConnection": "Request"}, "starlette"):
        return "Request"
    return _gradio_kind(annotation)


def _kind_named(text: str) -> Kind | None:
    package, _, name = text.rpartition(".")
    if package in {"gr", "gradio"}:
        return GRADIO.get(name)
    return {"ChatContext": "ChatContext", "Request": "Request"}.get(name)  # type: ignore[return-value] # mypy widens it


def _gradio_kind(cls: Any) -> Kind | None:
    if cls is GradioProgress or cls is GradioRequest:
        return GRADIO[cls.__name__.removeprefix("Gradio")]
    name = class_named(cls, GRADIO, "gradio")
    return None if name is None else GRADIO[name]


NEEDS_CONTEXT: Final[frozenset[Kind]] = frozenset({"ChatContext", "gr.Request", "gr.Progress"})

_GIVEN: Final[Mapping[Kind, Callable[[Surroundings, str], Any]]] = {
    "ChatContext": lambda around, _: around.context,
    "Request": lambda around, _: around.request,
    "gr.Request": lambda around, _: _gradio_request(around),
    "gr.Progress": lambda around, _: GradioProgress(report=None if around.context is None else around.context.progress),
    "gr.Header": lambda around, name: GradioRequest(around.request).headers.get(name.replace("_", "-")),
    "nothing": lambda _around, _: None,
}


def given_to(kind: Kind, name: str, around: Surroundings) -> Any:
    """Return the argument for an injected parameter of that name."""
    return _GIVEN[kind](around, name)


def _gradio_request(around: Surroundings) -> GradioRequest:
    context = around.context
    if context is None:
        return GradioRequest(around.request, session_hash=around.session_hash)
    session_hash = around.session_hash or context.session.id or context.turn_id
    return GradioRequest(around.request, username=context.user or None, session_hash=session_hash)
