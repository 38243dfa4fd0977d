"""Which shape of history a function takes: its annotation of the history decides, else what its source does with it."""

from __future__ import annotations

import ast
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from chatserve.cli.target.evidence import Function, Shape, shape_in
from chatserve.cli.target.functions import code_of, parameter_names


def read_shape(function: Callable[..., Any], tree: ast.Module) -> Shape | None:
    """Return the shape of history that a function takes, or None if nothing says it. `tree` is its module's source."""
    found = find_function(function, tree)
    names = parameter_names(function)
    if len(names) < 2:
        return None
    return _annotated(function, names[1]) or (None if found is None else shape_in(found, names[1], tree))


def find_function(function: Callable[..., Any], tree: ast.Module) -> Function | None:
    """Return where the source of a function is in the tree of its module."""
    code = code_of(function)
    if code is None:
        return None
    names = code.co_varnames[: code.co_posonlyargcount + code.co_argcount]
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            first = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", ()))])
            own = tuple(each.arg for each in (*node.args.posonlyargs, *node.args.args))
            if first == code.co_firstlineno and own == names:
                return node
    return None


# the annotation


def _annotated(function: Callable[..., Any], history: str) -> Shape | None:
    target = inspect.unwrap(function) if inspect.isroutine(function) else getattr(function, "__call__", function)  # noqa: B004
    try:
        annotation = typing.get_type_hints(target).get(history)
    except Exception:  # noqa: BLE001 - annotations may raise anything, and then say nothing
        annotation = getattr(target, "__annotations__", {}).get(history)
    name = shape_of_annotation(annotation)
    return None if name is None else Shape(name, f"its annotation says `{_annotation_text(annotation)}`")


def shape_of_annotation(annotation: Any) -> Literal["tuples", "messages"] | None:
    """Return what the annotation of a history says: `list[list[str]]` are pairs, `list[dict]` are messages."""
    entries = [_members(each)[0] for each in _alternatives(annotation) if _members(each)]
    kinds = {_kind(entry) for each in entries for entry in _alternatives(each)}
    return kinds.pop() if len(kinds) == 1 else None


def _alternatives(annotation: Any) -> list[Any]:
    """Return the members of a union but None, or the annotation itself."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return [each for each in typing.get_args(annotation) if each is not types.NoneType]
    if typing.get_origin(annotation) is typing.Annotated:
        return _alternatives(typing.get_args(annotation)[0])
    return [annotation]


def _members(annotation: Any) -> tuple[Any, ...]:
    origin = typing.get_origin(annotation)
    is_list = isinstance(origin, type) and issubclass(origin, Iterable) and not issubclass(origin, Mapping)
    return typing.get_args(annotation) if is_list else ()


def _kind(entry: Any) -> Literal["tuples", "messages"] | None:
    origin = typing.get_origin(entry) or entry
    if not isinstance(origin, type):
        return None
    if issubclass(origin, Mapping) or "message" in origin.__name__.lower():
        return "messages"
    return "tuples" if issubclass(origin, list | tuple) else None


def _annotation_text(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) and not typing.get_args(annotation) else str(annotation)
