"""Parameters that another framework would fill: how they are recognized, and what to write here in their place.

They are refused, because as inputs any client could send them. They are recognized by name, so no framework is
imported.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from chatserve.chat_function.signature.parameters import Parameter, metadata_of, package_of, plain_type

_CONTEXT: Final = "add a parameter `ctx: ChatContext` and read `ctx.{}`"
_REQUEST: Final = "add a parameter `request: starlette.requests.Request` and read `request.{}`"
_FILES: Final = "register the chat with multimodal=True and read `message['files']`"
_PLAIN: Final = "annotate the parameter with its type alone, as clients send it among the inputs"
_BOUND: Final = "make it in the function, or bind it with functools.partial"
_USER: Final = f"{_CONTEXT.format('user')}, or call it in the function"

_REMEDIES: Final[Mapping[str, str]] = {
    "Depends": _USER,
    "Security": _USER,
    "SecurityScopes": _USER,
    "Header": _CONTEXT.format("headers"),
    "Cookie": _REQUEST.format("cookies"),
    "Query": _REQUEST.format("query_params"),
    "Path": _REQUEST.format("path_params"),
    "File": _FILES,
    "UploadFile": _FILES,
    "Form": _PLAIN,
    "Body": _PLAIN,
}
_GRADIO_REMEDIES: Final[Mapping[str, str]] = {
    "State": f"{_CONTEXT.format('session.state')}, which is kept with the session",
    "OAuthProfile": _CONTEXT.format("user"),
    "OAuthToken": _CONTEXT.format("user"),
    "EventData": "nothing is clicked here, so remove the parameter or annotate it with `| None`",
}
_COMPONENT: Final = (
    "annotate the parameter with a type and give the component's value, as in `temperature: float = 0.7`"
)

_ANYWHERE: Final = frozenset({"Depends", "Security"})
"""Markers whose names mean the same in every framework."""

_FRAMEWORKS: Final = frozenset({"fastapi", "fast_depends", "litestar", "dependency_injector"})
_WRITTEN: Final = re.compile(rf"\b({'|'.join(_REMEDIES)})\(")


def foreign_reason(parameter: Parameter) -> str | None:
    """Return why a parameter is refused and what to do, or None if no other framework would fill it."""
    for marker in _markers(parameter):
        remedy = _remedy_for(marker)
        if remedy is not None:
            return f"chatserve fills no {marker.__name__}; {remedy}"
    if isinstance(parameter.annotation, str) and (written := _WRITTEN.search(parameter.annotation)):
        return f"chatserve fills no {written[1]}; {_REMEDIES[written[1]]}"
    return None


def _markers(parameter: Parameter) -> Iterator[type]:
    """Yield the classes of a parameter's type, default and metadata."""
    cls = plain_type(parameter.annotation)
    if isinstance(cls, type):
        yield cls
    yield from map(type, (parameter.default, *metadata_of(parameter.annotation)))


def _remedy_for(marker: type) -> str | None:
    names = [base.__name__ for base in marker.__mro__ if package_of(base) == "gradio"]
    if names and names[0] != "Cache":
        return next((_GRADIO_REMEDIES[name] for name in names if name in _GRADIO_REMEDIES), _COMPONENT)
    for base in marker.__mro__:
        if base.__name__ in _ANYWHERE or package_of(base) in _FRAMEWORKS:
            return _REMEDIES.get(base.__name__, _BOUND)
    return None
