"""What a file asked of Gradio while it was imported, and how a component of Gradio or of the stand-in is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Interface:
    """A `gr.ChatInterface` that a file made: the object, and the arguments it was made with, by name."""

    made: Any
    given: Mapping[str, Any]


@dataclass(slots=True)
class Record:
    """What a file asked of Gradio. `version` is the installed Gradio's, None if there is none."""

    version: str | None = None
    is_used: bool = False
    interfaces: list[Interface] = field(default_factory=list)
    blocks: list[Any] = field(default_factory=list)
    launched: dict[str, Any] = field(default_factory=dict)
    queued: dict[str, Any] = field(default_factory=dict)

    @property
    def pages(self) -> list[Any]:
        """The `gr.Blocks` that are no chat interfaces."""
        chats = {id(interface.made) for interface in self.interfaces}
        return [made for made in self.blocks if id(made) not in chats]


def is_gradio(value: object) -> bool:
    """Whether a value is an object of Gradio, or of a class derived from one of Gradio's."""
    return any(base.__module__.partition(".")[0] == "gradio" for base in type(value).__mro__)


def kinds_of(component: object) -> tuple[str, ...]:
    """Return the names of a component's class and of those it is derived from, its own first."""
    return tuple(base.__name__ for base in type(component).__mro__)


def is_chatbot(component: Any) -> bool:
    """Whether a component shows the history."""
    return is_gradio(component) and "Chatbot" in kinds_of(component)


def given_to(component: object) -> dict[str, Any]:
    """Return the arguments that a component was made with, by name."""
    attributes = getattr(component, "__dict__", {})
    given: dict[str, Any] | None = attributes.get("given")
    if given is not None:
        return given
    calls: list[dict[str, Any]] = attributes.get("_constructor_args") or [{}]
    return calls[0]


def read(component: object, name: str, default: Any = None) -> Any:
    """Return an attribute of a component, as Gradio resolved it or as it was given."""
    attributes = getattr(component, "__dict__", {})
    if name in attributes:
        return attributes[name]
    return given_to(component).get(name, default)
