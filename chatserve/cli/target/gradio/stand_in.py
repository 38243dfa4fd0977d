"""The stand-in for Gradio where it is not installed: files import it, build their page with it, and nothing happens.

A name with a capital letter is a class whose objects keep the arguments they were made with; they serve as components,
containers and themes. Any other name is an `Anything`. Explicit is only what a chat function or chatserve uses: the
interface, `Blocks`, messages, errors, and what functions say while they run.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, Final

from chatserve.chat_function.signature import GradioProgress, GradioRequest
from chatserve.cli.target.gradio.parameters import EVENTS
from chatserve.cli.target.gradio.record import Interface as Recorded
from chatserve.cli.target.gradio.record import Record
from chatserve.core.types import ChatMessage

logger = logging.getLogger("gradio")

VERSION: Final = "6.31.0"
"""The release whose names files find; some ask for it."""

_POSITIONAL: Final[dict[str, tuple[str, ...]]] = {
    "ChatInterface": ("fn",),
    "Slider": ("minimum", "maximum", "value"),
    "Dropdown": ("choices", "value"),
    "Radio": ("choices", "value"),
    "CheckboxGroup": ("choices", "value"),
    "Accordion": ("label",),
    "Tab": ("label",),
}
"""The arguments that a class takes by position, where the first is not the value. Source: Gradio 6.31's signatures."""

_METHODS: Final = EVENTS | {"style", "stream", "add", "dataset", "every", "attach_load_event"}
"""Attributes of components besides their arguments. Others are missing: an answer is recognized by what it has."""


def make_package(record: Record) -> Anything:
    """Return a new package `gradio` that records what is made with it."""

    class Blocks(Component):
        """A page."""

        def __init__(self, *args: Any, **given: Any) -> None:
            super().__init__(*args, **given)
            record.blocks.append(self)

        def __getattr__(self, name: str) -> Any:
            if name.startswith("__") or name == "given":
                raise AttributeError(name)
            return self.given[name] if name in self.given else Anything(f"gradio.{name}", {})

        def queue(self, *args: Any, **given: Any) -> Blocks:
            record.queued.update(dict(zip(("concurrency_count",), args, strict=False)), **given)
            return self

        def launch(self, *args: Any, **given: Any) -> tuple[None, str, str]:
            record.launched.update(dict(zip(("inline",), args, strict=False)), **given)
            return None, "", ""

        def close(self, *_args: Any, **_given: Any) -> None: ...
        def block_thread(self) -> None: ...

    class ChatInterface(Blocks):
        """A chat."""

        def __init__(self, *args: Any, **given: Any) -> None:
            super().__init__(*args, **given)
            record.interfaces.append(Recorded(self, self.given))

    class Interface(Blocks):
        """A page for one function."""

    class TabbedInterface(Blocks):
        """A page of several."""

    classes = (Blocks, Interface, TabbedInterface, ChatInterface, Error, ChatMessage)
    names: dict[str, Any] = {each.__name__: each for each in classes}
    functions = (validate, update, skip, mount_gradio_app)
    names |= {each.__name__: each for each in functions} | {"MessageDict": dict}
    names |= {"Request": GradioRequest, "Progress": GradioProgress}
    names |= {name: _say(name) for name in ("Info", "Warning", "Success")}
    return Anything("gradio", names)


class Anything(ModuleType):
    """A module or function of Gradio, or what one returned. It can be called, entered, and asked for any name."""

    def __init__(self, name: str, names: dict[str, Any]) -> None:
        super().__init__(name)
        self.__path__: list[str] = []
        self.__version__ = VERSION
        self.__dict__["_names"] = names

    def named(self, name: str) -> Anything:
        """Return a module of this package."""
        return Anything(name, self._names)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        names = self.__dict__["_names"]
        if name not in names and name[:1].isupper():
            names[name] = _Kind(name, (Component,), {"__module__": "gradio"})
        return names[name] if name in names else self.named(f"{self.__name__}.{name}")

    def __call__(self, *args: Any, **given: Any) -> Any:
        is_decorator = len(args) == 1 and not given and inspect.isfunction(args[0])
        return args[0] if is_decorator else self.named(self.__name__)

    def __getitem__(self, _key: Any) -> Anything:
        return self

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __enter__(self) -> Anything:
        return self

    def __exit__(self, *_error: object) -> None: ...


class _Kind(type):
    """The class of components' classes: their class attributes are anything too."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything(f"gradio.{name}", {})


class Component(metaclass=_Kind):
    """An object of Gradio. `given` are the arguments it was made with, by name."""

    __module__ = "gradio"

    def __init__(self, *args: Any, **given: Any) -> None:
        kinds = (base.__name__ for base in type(self).__mro__)
        names = next((_POSITIONAL[kind] for kind in kinds if kind in _POSITIONAL), ("value",))
        self.given = dict(zip(names, args, strict=False)) | given

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "given":
            raise AttributeError(name)
        if name in self.given or name == "value":
            return self.given.get(name)
        if name not in _METHODS:
            raise AttributeError(f"the stand-in for gr.{type(self).__name__} has no {name!r}")
        return Anything(f"gradio.{name}", {})

    def render(self, *_args: Any, **_given: Any) -> Component:
        """Return the object: where it stands on the page does not matter."""
        return self

    unrender = set = render

    def __enter__(self) -> Component:
        return self

    def __exit__(self, *_error: object) -> None: ...


class Error(Exception):
    """An error whose text the client is shown."""

    __module__ = "gradio.exceptions"

    def __init__(
        self, message: Any = "Error raised.", duration: float | None = 10, visible: bool = True, title: str = "Error"
    ) -> None:
        self.message, self.duration, self.visible, self.title = message, duration, visible, title
        super().__init__(message)


def _say(kind: str) -> Callable[..., None]:
    def say(message: object = "", *_args: Any, **_given: Any) -> None:
        logger.log(logging.WARNING if kind == "Warning" else logging.INFO, "gr.%s: %s", kind, message)

    say.__name__ = kind
    return say


def validate(is_valid: bool, message: str = "") -> dict[str, Any]:
    """Return what a validator says of a value."""
    return {"__type__": "validate", "is_valid": is_valid, "message": message}


def update(**given: Any) -> dict[str, Any]:
    """Return a change of a component."""
    return {"__type__": "update", **given}


def skip() -> dict[str, Any]:
    """Return the change that changes nothing."""
    return update()


def mount_gradio_app(app: Any, *_args: Any, **_given: Any) -> Any:
    """Return the application, without a page in it."""
    return app
