"""Targets: `app.py`, `app.py:name`, `pkg.module:name`, loaded as an application. Knows nothing of serving it.

A `ChatServer` in the file is served. In a file without one it is the chat function: the one named `predict`, `chat` or
`respond`, else the only candidate. Candidates whose parameters are named `message` and `history` win over others.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from chatserve.app import ChatServer
from chatserve.core.errors import ConfigurationError

PREFERRED_NAMES: Final = ("predict", "chat", "respond")
PARAMETER_NAMES: Final = ("message", "history")
_POSITIONAL: Final = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class TargetError(ConfigurationError):
    """The target cannot be served as it is; changing its file may help."""


@dataclass(frozen=True, slots=True)
class Target:
    """What is served: the application, its file or module, what was taken from there, and the folder of the code."""

    app: ChatServer
    name: str
    taken: str
    folder: Path


@dataclass(frozen=True, slots=True)
class Source:
    """Where a target's module is: its name, the folder it is imported from, its file, and the attribute to serve."""

    module: str
    folder: Path
    attribute: str
    file: Path | None = None

    @property
    def name(self) -> str:
        """What users call it."""
        return self.module if self.file is None else self.file.name


def load_target(text: str) -> Target:
    """Import what `text` names and find the application or chat function in it.

    Raises:
        TargetError: there is no such file or module, it cannot be imported, or it is not clear what to serve in it.
    """
    source = locate(text)
    module = _import(source)
    app, taken = _named(module, source) if source.attribute else _found(module, source)
    if not app.chats:
        raise TargetError(f"{source.name}: {taken} has no chat; decorate a function with @app.chat")
    return Target(app, source.name, taken, source.folder)


# where it is


def locate(text: str) -> Source:
    """Return where a target is. Raises: TargetError if the file does not exist, or the text is no target."""
    place, _, attribute = text.partition(":")
    if attribute and not all(part.isidentifier() for part in attribute.split(".")):
        raise TargetError(f"target {text!r}: {attribute!r} is not a name; write {place}:app")
    path = Path(place)
    if place.endswith(".py") or os.sep in place or (place and path.is_dir()):
        return _locate_file(text, path, attribute)
    if place and all(part.isidentifier() for part in place.split(".")):
        return Source(place, Path.cwd(), attribute)
    raise TargetError(
        f"target {text!r} is neither a file nor a module; write app.py, pkg.module:app or app.py:function"
    )


def _locate_file(text: str, path: Path, attribute: str) -> Source:
    if path.is_dir():
        raise TargetError(f"target {text!r} is a folder; name a file in it: {path / 'app.py'}")
    if not path.is_file():
        raise TargetError(f"target {text!r}: there is no file {str(path.absolute())!r}")
    path = path.resolve()
    if path.suffix != ".py" or not path.stem.isidentifier():
        raise TargetError(f"target {text!r} cannot be imported; give the file a name like app.py")
    names, folder = [path.stem], path.parent
    while (folder / "__init__.py").is_file():
        names.insert(0, folder.name)
        folder = folder.parent
    return Source(".".join(names), folder, attribute, path)


# importing it


def _import(source: Source) -> ModuleType:
    sys.path.insert(0, str(source.folder))
    try:
        module = importlib.import_module(source.module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever the developer's file raises, exits included
        raise TargetError(_import_failure(error, source)) from error
    loaded = getattr(module, "__file__", None)
    if source.file is not None and (loaded is None or not source.file.samefile(loaded)):
        raise TargetError(
            f"target {source.name!r}: a module {source.module!r} is loaded already from {loaded or 'Python itself'}; "
            "rename the file"
        )
    return module


def _import_failure(error: BaseException, source: Source) -> str:
    """Say in one line what went wrong, and where in the developer's files."""
    if isinstance(error, ModuleNotFoundError) and _is_prefix(error.name, source.module):
        return f"target {source.module!r}: there is no module {error.name!r} (looked in {str(source.folder)!r} too)"
    what = " ".join(f"{type(error).__name__}: {error.msg if isinstance(error, SyntaxError) else error}".split())
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_shown(error.filename)}:{error.lineno}: {what}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if _is_own(frame.filename, source)]
    place = f"{_shown(own[-1].filename)}:{own[-1].lineno}" if own else source.name
    return f"{place}: {what.rstrip(': ')}"


def _is_prefix(name: str | None, module: str) -> bool:
    return name is not None and f"{module}.".startswith(f"{name}.")


def _is_own(filename: str, source: Source) -> bool:
    path = Path(filename)
    return path.is_relative_to(source.folder) and "site-packages" not in path.parts


def _shown(filename: str) -> str:
    path = Path(filename)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else filename


# what is in it


def _named(module: ModuleType, source: Source) -> tuple[ChatServer, str]:
    value: Any = module
    for part in source.attribute.split("."):
        try:
            value = getattr(value, part)
        except AttributeError:
            raise TargetError(f"{source.name}: there is no {source.attribute!r} in it{_hint(module)}") from None
    if isinstance(value, ChatServer):
        return value, f"the ChatServer {source.attribute!r}"
    if callable(value) and not inspect.isclass(value):
        return _serve_function(value, source, source.attribute.rpartition(".")[2])
    raise TargetError(
        f"{source.name}: {source.attribute!r} is {_kind(value)}, neither a ChatServer nor a chat function"
    )


def _kind(value: Any) -> str:
    return f"the class {value.__name__}" if inspect.isclass(value) else f"of type {type(value).__name__}"


def _hint(module: ModuleType) -> str:
    names = [*_servers(module), *(function.__name__ for function in _candidates(module))]
    return f"; it has {_listed(names)}" if names else ""


def _found(module: ModuleType, source: Source) -> tuple[ChatServer, str]:
    servers = _servers(module)
    if len(servers) == 1 or "app" in servers:
        name = "app" if "app" in servers else next(iter(servers))
        return servers[name], f"the ChatServer {name!r}"
    if servers:
        raise TargetError(f"{source.name} has several ChatServers: {_listed(servers)}; write {source.name}:NAME")
    function = _choose(_candidates(module), source)
    return _serve_function(function, source, function.__name__)


def _servers(module: ModuleType) -> dict[str, ChatServer]:
    """Return the applications of a module by name; one that has two names only once."""
    by_identity = {id(value): name for name, value in reversed(vars(module).items()) if isinstance(value, ChatServer)}
    return {name: getattr(module, name) for name in reversed(by_identity.values())}


def _choose(candidates: list[Callable[..., Any]], source: Source) -> Callable[..., Any]:
    for name in PREFERRED_NAMES:
        for candidate in candidates:
            if candidate.__name__ == name:
                return candidate
    fitting = [candidate for candidate in candidates if _parameter_names(candidate) == PARAMETER_NAMES] or candidates
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        raise TargetError(
            f"{source.name} has neither a ChatServer nor a chat function: "
            "write one, as in `def predict(message, history): return ...`"
        )
    names = _listed(function.__name__ for function in fitting)
    raise TargetError(
        f"{source.name} has several functions that could be the chat function: {names}; write {source.name}:NAME"
    )


def _candidates(module: ModuleType) -> list[Callable[..., Any]]:
    """Return the public functions a module defines whose first two parameters can be message and history."""
    functions = {
        id(value): value
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_")
    }
    return [function for function in functions.values() if len(_parameter_names(function)) == len(PARAMETER_NAMES)]


def _parameter_names(function: Callable[..., Any]) -> tuple[str, ...]:
    """Return the names of the first two positional parameters, or fewer where there are fewer."""
    parameters = inspect.signature(function).parameters.values()
    return tuple(parameter.name for parameter in parameters if parameter.kind in _POSITIONAL)[:2]


def _serve_function(function: Callable[..., Any], source: Source, name: str) -> tuple[ChatServer, str]:
    app = ChatServer(title=source.module.rpartition(".")[2].replace("_", " ").capitalize())
    try:
        app.chat(name=name)(function)
    except ConfigurationError as error:
        raise TargetError(f"{source.name}: {error.detail}") from None
    return app, f"the function {name!r}"


def _listed(names: Any) -> str:
    return ", ".join(names)
