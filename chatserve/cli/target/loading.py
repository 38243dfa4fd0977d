"""Loads a target: imports it, finds what to serve in it, and tells what was taken, how it was read and why."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from chatserve.app import ChatServer
from chatserve.cli.target.functions import code_of, find_candidates, preferred
from chatserve.cli.target.gradio import ChatReading, Interface, Record, adapt, find_wiring, read_interfaces, recording
from chatserve.cli.target.importing import import_module, read_tree, run_main, tree_of
from chatserve.cli.target.place import Source, TargetError, locate
from chatserve.cli.target.shapes import read_shape
from chatserve.core.errors import ConfigurationError

OPTIONS: Final = ("history", "yields", "multimodal", "name")
"""What the command line can say of a chat function, in place of `@app.chat`."""

TUPLES_UNTIL: Final = 5
"""The last release of Gradio whose history is pairs where a file does not say what it is."""


@dataclass(frozen=True, slots=True)
class Note:
    """How something was read. `is_news`: a server tells it when it starts, not only `check`."""

    label: str
    text: str
    is_news: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """What is served: the application, its file or module, what was taken from there, and the folder of the code."""

    app: ChatServer
    name: str
    taken: str
    folder: Path
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A target's module: its source, what it asked of Gradio, and the options of the command line."""

    source: Source
    module: ModuleType
    tree: ast.Module
    record: Record
    options: Mapping[str, Any]

    @property
    def name(self) -> str:
        return self.source.name


def load_target(text: str, options: Mapping[str, Any] | None = None) -> Target:
    """Import what `text` names and find the application, chat interfaces or chat function in it.

    `options` are those of `OPTIONS` that the command line gives; None stands for one that is not given.

    Raises:
        TargetError: there is no such file or module, it cannot be imported, or it is not clear what to serve in it.
    """
    source = locate(text)
    given = {name: value for name, value in (options or {}).items() if value is not None}
    with recording(source) as record:
        module = import_module(source)
        tree = read_tree(module)
        if _is_made_by_main(module, tree, record, source):
            run_main(module, tree, source)
    loaded = _Loaded(source, module, tree, record, given)
    target = _named(loaded) if source.attribute else _found(loaded)
    if not target.app.chats:
        raise TargetError(f"{source.name}: {target.taken} has no chat; decorate a function with @app.chat")
    return target


def _is_made_by_main(module: ModuleType, tree: ast.Module, record: Record, source: Source) -> bool:
    """Whether a file makes its chat interface only when it is run as a program."""
    if record.interfaces or not record.is_used or (not source.attribute and _servers(module)):
        return False
    return any(_calls_interface(node) for node in ast.walk(tree))


def _calls_interface(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and "ChatInterface" in (
        getattr(node.func, "id", None),
        getattr(node.func, "attr", None),
    )


# what is in it


def _named(loaded: _Loaded) -> Target:
    """Serve what the target names. Raises: TargetError."""
    name = loaded.source.attribute
    value: Any = loaded.module
    for part in name.split("."):
        try:
            value = getattr(value, part)
        except AttributeError:
            raise TargetError(f"{loaded.name}: there is no {name!r} in it{_hint(loaded)}") from None
    if isinstance(value, ChatServer):
        return _serve_server(loaded, name, value)
    if any(value is made for made in loaded.record.pages):
        return _serve_page(loaded, name)
    if chosen := [each for each in loaded.record.interfaces if value is each.made or value is each.given.get("fn")]:
        return _serve_interfaces(loaded, chosen)
    if callable(value) and not inspect.isclass(value):
        return _serve_function(loaded, value, name.rpartition(".")[2])
    raise TargetError(f"{loaded.name}: {name!r} is {_kind(value)}, neither a ChatServer nor a chat function")


def _kind(value: Any) -> str:
    return f"the class {value.__name__}" if inspect.isclass(value) else f"of type {type(value).__name__}"


def _hint(loaded: _Loaded) -> str:
    names = [*_servers(loaded.module), *_candidates(loaded)]
    return f"; it has {_listed(names)}" if names else ""


def _found(loaded: _Loaded) -> Target:
    """Serve what the file has. Raises: TargetError."""
    name = loaded.name
    servers = _servers(loaded.module)
    if len(servers) == 1 or "app" in servers:
        server = "app" if "app" in servers else next(iter(servers))
        return _serve_server(loaded, server, servers[server])
    if servers:
        raise TargetError(f"{name} has several ChatServers: {_listed(servers)}; write {name}:NAME")
    if loaded.record.interfaces:
        return _serve_interfaces(loaded, loaded.record.interfaces)
    candidates = _candidates(loaded)
    if loaded.record.pages:
        _refuse_page(loaded, candidates)
    fitting = preferred(candidates)
    if not fitting:
        raise TargetError(
            f"{name} has neither a ChatServer nor a chat function: "
            "write one, as in `def predict(message, history): return ...`"
        )
    if len(fitting) > 1:
        raise TargetError(
            f"{name} has several functions that could be the chat function: {_listed(fitting)}; write {name}:NAME"
        )
    return _serve_function(loaded, candidates[fitting[0]], fitting[0])


def _candidates(loaded: _Loaded) -> dict[str, Callable[..., Any]]:
    return find_candidates(loaded.module, loaded.tree, loaded.source)


def _servers(module: ModuleType) -> dict[str, ChatServer]:
    """Return the applications of a module by name; one that has two names only once."""
    by_identity = {id(value): name for name, value in reversed(vars(module).items()) if isinstance(value, ChatServer)}
    return {name: getattr(module, name) for name in reversed(by_identity.values())}


def _refuse_page(loaded: _Loaded, candidates: Iterable[str]) -> None:
    """Refuse a page without a chat interface: nothing says which function is the chat's. Raises: TargetError."""
    names = _listed(candidates)
    remedy = (
        f"name it, {loaded.name}:NAME; it has {names}" if names else "it has no function of a message and a history"
    )
    raise TargetError(
        f"{loaded.name} makes a gr.Blocks without a gr.ChatInterface, so its chat function is not known: {remedy}"
    )


def _serve_page(loaded: _Loaded, name: str) -> Target:
    """Serve the chat interfaces of a page. Raises: TargetError: it has none."""
    if not loaded.record.interfaces:
        _refuse_page(loaded, _candidates(loaded))
    return _serve_interfaces(loaded, loaded.record.interfaces)


# serving it


def _serve_server(loaded: _Loaded, name: str, server: ChatServer) -> Target:
    if loaded.options:
        option, value = next(iter(loaded.options.items()))
        raise TargetError(
            f"{loaded.name}: --{option} is for files without a ChatServer; "
            f"in this one write @app.chat({option}={value!r})"
        )
    return _target(loaded, server, f"the ChatServer {name!r}")


def _serve_function(loaded: _Loaded, function: Callable[..., Any], name: str) -> Target:
    options: dict[str, Any] = {"name": name, **loaded.options}
    notes = list(_unread_notes(loaded))
    wiring = find_wiring(function, vars(loaded.module), loaded.tree)
    served, declared = function, None
    if wiring is not None:
        served = adapt(function, name, wiring.inputs, wiring.outputs, vars(loaded.module), is_page=True).function
        declared = wiring.declared_type
    if "history" not in options:
        options["history"], note = _decide_history(function, declared, loaded.record)
        notes.append(note)
    app = ChatServer(title=_title(loaded.source))
    _register(app, served, options, loaded)
    return _target(loaded, app, f"the function {name!r}", notes)


def _serve_interfaces(loaded: _Loaded, interfaces: Iterable[Interface]) -> Target:
    readings = read_interfaces(loaded.record, list(interfaces), loaded.module, loaded.tree)
    if len(readings) > 1 and "name" in loaded.options:
        raise TargetError(
            f"{loaded.name}: --name names one chat, and it has {_listed(each.name for each in readings)}; "
            f"write {loaded.name}:NAME"
        )
    app = ChatServer(
        title=next((str(each.options["title"]) for each in readings if "title" in each.options), _title(loaded.source))
    )
    notes: list[Note] = []
    for reading in readings:
        options: dict[str, Any] = {"name": reading.name, **reading.options, **loaded.options}
        if "history" not in options:
            options["history"], note = _decide_history(reading.original, reading.declared, loaded.record)
            notes.append(note)
        _register(app, reading.function, options, loaded)
    notes += _fate_notes(loaded, readings)
    names = " and ".join(f"{each.name!r}" for each in readings)
    return _target(loaded, app, f"the gr.ChatInterface of {names}", notes)


def _target(loaded: _Loaded, app: ChatServer, taken: str, notes: Iterable[Note] = ()) -> Target:
    return Target(app, loaded.name, taken, loaded.source.folder, tuple(notes))


def _register(app: ChatServer, function: Callable[..., Any], options: Mapping[str, Any], loaded: _Loaded) -> None:
    try:
        app.chat(**options)(function)
    except ConfigurationError as error:
        raise TargetError(f"{loaded.name}: {error.detail}") from None


def _title(source: Source) -> str:
    return source.module.rpartition(".")[2].replace("_", " ").capitalize()


# how it was read


def _decide_history(function: Callable[..., Any], declared: str | None, record: Record) -> tuple[str, Note]:
    """Return the shape of history of a function, and what to tell of it.

    What its Gradio component declares decides, else its annotation or source, else the default of an old Gradio.
    """
    shape = read_shape(function, tree_of(code_of(function)))
    if declared == "tuples" or (declared == "messages" and (shape is None or shape.name == "tuples")):
        return declared, _shape_note(declared, f"the file has type={declared!r}")
    if shape is not None:
        return shape.name, _shape_note(shape.name, shape.reason)
    if record.version is not None and int(record.version.partition(".")[0]) <= TUPLES_UNTIL:
        return "tuples", _shape_note("tuples", f"they are the default of Gradio {record.version}, which is installed")
    text = "messages, as nothing in the source says otherwise (--history tuples for pairs)"
    return "messages", Note("history", text)


def _shape_note(name: str, reason: str) -> Note:
    other = "tuples" if name == "messages" else "messages"
    return Note("history", f"{name}, as {reason} (--history {other} otherwise)", is_news=name != "messages")


def _fate_notes(loaded: _Loaded, readings: Iterable[ChatReading]) -> Iterator[Note]:
    """Yield what was carried over from Gradio, and what was not."""
    fates: dict[str, dict[str, None]] = {}
    for reading in readings:
        for fate, names in reading.fates.items():
            fates.setdefault(fate, {}).update(dict.fromkeys(names))
    version = loaded.record.version
    yield Note(
        "gradio", f"Gradio {version}, which is installed" if version else "not installed, so a stand-in was imported"
    )
    for fate in ("carried over", "always so"):
        if said := fates.get(fate):
            yield Note(fate, _listed(said))
    if lost := fates.get("not carried over"):
        yield Note("not carried over", _listed(lost), is_news=True)


def _unread_notes(loaded: _Loaded) -> Iterator[Note]:
    """Yield the functions that would make a chat interface if anything called them."""
    if loaded.record.interfaces:
        return
    for node in ast.walk(loaded.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and any(map(_calls_interface, ast.walk(node))):
            text = (
                f"the gr.ChatInterface in {node.name}() is not read, as nothing calls it: write `demo = {node.name}()`"
            )
            yield Note("gradio", text, is_news=True)


def _listed(names: Any) -> str:
    return ", ".join(names)
