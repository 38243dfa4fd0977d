"""The functions of a module that can be a chat function, under their names in the module.

Candidates are public, take at least two positional parameters, and are made by the developer: defined in the module, or
assigned in it from a lambda, a `functools.partial`, a bound method or a callable object of the developer's own code.
"""

from __future__ import annotations

import ast
import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import CodeType, ModuleType
from typing import Any, Final

from chatserve.chat_function.signature.injected import injected_kind
from chatserve.chat_function.signature.parameters import POSITIONAL, bound_names, parameters_of
from chatserve.cli.target.place import Source

PREFERRED_NAMES: Final = ("predict", "chat", "respond")
PARAMETER_NAMES: Final = ("message", "history")
_DEFINITIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef)

Candidates = Mapping[str, Callable[..., Any]]


def find_candidates(module: ModuleType, tree: ast.Module, source: Source) -> dict[str, Callable[..., Any]]:
    """Return the functions of a module that can be the chat function; one that has several names only once."""
    bound = dict(_bound_names(tree.body))
    names: dict[int, str] = {}
    for name in bound:
        value = vars(module).get(name)
        if not name.startswith("_") and _is_candidate(value, source, is_defined=bound[name]):
            names[id(value)] = _better_name(value, names.get(id(value)), name)
    return {name: getattr(module, name) for name in names.values()}


def preferred(candidates: Candidates) -> list[str]:
    """Return the names among which the chat function is: one of the usual names alone, else those that fit best."""
    for name in PREFERRED_NAMES:
        if name in candidates:
            return [name]
    fitting = [name for name, function in candidates.items() if parameter_names(function) == PARAMETER_NAMES]
    return fitting or list(candidates)


def parameter_names(function: Callable[..., Any]) -> tuple[str, ...]:
    """Return the names of the first two parameters that can be message and history, or fewer where there are fewer."""
    try:
        parameters = parameters_of(function)
    except (TypeError, ValueError):
        return ()
    bound = bound_names(function)
    kinds = (*POSITIONAL, inspect.Parameter.KEYWORD_ONLY) if bound else POSITIONAL
    taken = (each for each in parameters if each.kind in kinds and each.name not in bound)
    return tuple(each.name for each in taken if injected_kind(each) is None)[:2]


def code_of(function: Any) -> CodeType | None:
    """Return the code that runs when this is called: a function's, a method's, a partial's, a callable object's."""
    while isinstance(function, functools.partial):
        function = function.func
    if not inspect.isroutine(function):
        function = getattr(type(function), "__call__", None)  # noqa: B004 - the method itself is wanted
    code = getattr(inspect.unwrap(function) if callable(function) else None, "__code__", None)
    return code if isinstance(code, CodeType) else None


def name_in(names: Mapping[str, Any], wanted: Any) -> str | None:
    """Return the public name of a value in a module, its own one if it has several."""
    found = [name for name, value in names.items() if value is wanted and not name.startswith("_")]
    own = getattr(wanted, "__name__", "")
    return own if own in found else next(iter(found), None)


def _is_candidate(value: Any, source: Source, *, is_defined: bool) -> bool:
    if not callable(value) or inspect.isclass(value) or len(parameter_names(value)) < len(PARAMETER_NAMES):
        return False
    if is_defined:
        return True  # whatever its decorators made of it
    code = code_of(value)
    return code is not None and source.has_written(code.co_filename)


def _better_name(value: Any, name: str | None, other: str) -> str:
    """Return the name to use of a value that has two: a usual one, its own, else the first."""
    own = getattr(value, "__name__", "")
    return other if name is None or (name not in PREFERRED_NAMES and other in (*PREFERRED_NAMES, own)) else name


def _bound_names(body: Iterable[ast.stmt]) -> Iterator[tuple[str, bool]]:
    """Yield the names that statements bind at module level, and whether by a definition rather than an assignment."""
    for statement in body:
        if isinstance(statement, _DEFINITIONS):
            yield statement.name, True
        elif isinstance(statement, ast.Assign | ast.AnnAssign):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            names = (node for target in targets for node in ast.walk(target) if isinstance(node, ast.Name))
            yield from ((name.id, False) for name in names)
        elif not isinstance(statement, ast.ClassDef):
            for block in ("body", "orelse", "finalbody"):
                yield from _bound_names(getattr(statement, block, ()))
            for handler in getattr(statement, "handlers", ()):
                yield from _bound_names(handler.body)
