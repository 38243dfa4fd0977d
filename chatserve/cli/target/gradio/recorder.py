"""Records what a file asks of Gradio while it is imported.

Where Gradio is installed, its own classes are watched: they work as they do, but `launch` and `queue` start nothing.
Where it is not, a stand-in is imported in its place, by the developer's own files only: an installed package that asks
whether Gradio is there is told the truth.
"""

from __future__ import annotations

import functools
import importlib.abc
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.machinery import ModuleSpec
from types import FrameType, ModuleType
from typing import Any

from chatserve.cli.target.gradio.record import Interface, Record, given_to
from chatserve.cli.target.gradio.stand_in import Anything, make_package
from chatserve.cli.target.place import Source

PACKAGE = "gradio"


@contextmanager
def recording(source: Source) -> Iterator[Record]:
    """Record what the developer's files ask of Gradio until the block ends."""
    record = Record()
    with ExitStack() as undo:
        finder = _Finder(record, source, undo)
        present = sys.modules.get(PACKAGE)
        if isinstance(present, Anything):
            _forget_stand_in()
        elif present is not None:
            watch(present, record, undo)
        sys.meta_path.insert(0, finder)
        undo.callback(sys.meta_path.remove, finder)
        yield record


def _forget_stand_in() -> None:
    """Forget the stand-in of an earlier file, which records what was asked by that one."""
    for name in [name for name, module in sys.modules.items() if isinstance(module, Anything)]:
        del sys.modules[name]


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the installed Gradio and has it watched, else the stand-in."""

    def __init__(self, record: Record, source: Source, undo: ExitStack) -> None:
        self._record, self._source, self._undo = record, source, undo
        self._is_looking = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] != PACKAGE or self._is_looking:
            return None
        package = sys.modules.get(PACKAGE)
        if isinstance(package, Anything):
            return importlib.util.spec_from_loader(fullname, _StandInLoader(package), is_package=True)
        if fullname != PACKAGE:
            return None
        if (installed := self._installed()) is not None:
            return installed
        if _importing_file(self._source) is None:
            return None
        self._record.is_used = True
        package = make_package(self._record)
        return importlib.util.spec_from_loader(PACKAGE, _StandInLoader(package), is_package=True)

    def _installed(self) -> ModuleSpec | None:
        self._is_looking = True
        try:
            spec = importlib.util.find_spec(PACKAGE)
        finally:
            self._is_looking = False
        if spec is None or spec.loader is None or spec.origin is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_watch(module: ModuleType) -> None:
            execute(module)
            watch(module, self._record, self._undo)

        spec.loader.exec_module = execute_and_watch  # type: ignore[method-assign]
        return spec


class _StandInLoader(importlib.abc.Loader):
    def __init__(self, package: Anything) -> None:
        self._package = package

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._package if spec.name == PACKAGE else self._package.named(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing: a module of the stand-in makes its names when they are asked for."""


def _importing_file(source: Source) -> str | None:
    """Return the file that imports, if the developer wrote it."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - import hooks are not told who imports
    while frame is not None:
        name = frame.f_code.co_filename
        if "importlib" not in name and name != __file__:
            return name if source.has_written(name) else None
        frame = frame.f_back
    return None


# the installed Gradio


def watch(gradio: Any, record: Record, undo: ExitStack) -> None:
    """Record what is made with an installed Gradio, and start nothing with it, until `undo` is closed."""
    record.version, record.is_used = str(gradio.__version__), True
    _replace(gradio.ChatInterface, "__init__", lambda make: _recorded_interface(make, record), undo)
    _replace(gradio.Chatbot, "__init__", _lenient, undo)
    _replace(gradio.Blocks, "__init__", lambda make: _recorded_blocks(make, record), undo)
    _replace(gradio.Blocks, "launch", lambda launch: _instead(launch, record.launched, lambda _: (None, "", "")), undo)
    _replace(gradio.Blocks, "queue", lambda queue: _instead(queue, record.queued, lambda blocks: blocks), undo)
    if hasattr(gradio.Blocks, "block_thread"):
        _replace(gradio.Blocks, "block_thread", lambda block: _instead(block, {}, lambda _: None), undo)


def _replace(owner: Any, name: str, change: Callable[[Any], Any], undo: ExitStack) -> None:
    original = getattr(owner, name)
    setattr(owner, name, change(original))
    undo.callback(setattr, owner, name, original)


def bound(function: Callable[..., Any], *args: Any, **given: Any) -> dict[str, Any]:
    """Return the arguments of a call by name, those that the function does not know included; the first is left out."""
    names = list(inspect.signature(function).parameters)
    return dict(zip(names[1:], args[1:], strict=False)) | given


def _known(function: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that a function takes: files for other releases of Gradio give others too."""
    parameters = inspect.signature(function).parameters
    return {name: value for name, value in given.items() if name in parameters}


def _recorded_interface(make: Callable[..., None], record: Record) -> Callable[..., None]:
    @functools.wraps(make)
    def make_recorded(self: Any, *args: Any, **given: Any) -> None:
        arguments = bound(make, self, *args, **given)
        make(self, **_known(make, arguments | {"cache_examples": False}))  # answering them is left to chatserve
        record.interfaces.append(Interface(self, arguments))

    return make_recorded


def _recorded_blocks(make: Callable[..., None], record: Record) -> Callable[..., None]:
    @functools.wraps(make)
    def make_recorded(self: Any, *args: Any, **given: Any) -> None:
        arguments = bound(make, self, *args, **given)
        vars(self).setdefault("given", arguments)
        make(
            self, **_known(make, arguments | {"analytics_enabled": False})
        )  # no page is made, so nothing is told of it
        record.blocks.append(self)

    return make_recorded


def _lenient(make: Callable[..., None]) -> Callable[..., None]:
    """Let a chatbot be given what other releases take: other arguments, and pairs as its value."""

    @functools.wraps(make)
    def make_lenient(self: Any, *args: Any, **given: Any) -> None:
        arguments = bound(make, self, *args, **given)
        known = _known(make, arguments)
        if "type" not in inspect.signature(make).parameters and _are_pairs(known.get("value")):
            del known["value"]
        make(self, **known)
        given_to(self).update(arguments)

    return make_lenient


def _are_pairs(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(entry, list | tuple) for entry in value)


def _instead(method: Any, given: dict[str, Any], answer: Callable[[Any], Any]) -> Any:
    @functools.wraps(method)
    def method_instead(self: Any, *args: Any, **arguments: Any) -> Any:
        given.update(bound(method, self, *args, **arguments))
        return answer(self)

    return method_instead
