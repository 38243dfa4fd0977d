"""Reads in a function's source what it does with the entries of its history. Pure: sees syntax trees alone.

The first thing that it does with an entry tells its shape:

- `tuples`: it takes a pair apart or adds one, as in `for user, bot in history`, `history[-1][0]`, `zip(*history)`;
- `messages`: it reads or adds a message, as in `entry["role"]`, `entry.get("content")`, `[*history, {"role": …}]`;
- `gradio6`: it reads parts of a message's content, as in `entry["content"][0]["text"]`;
- `gradio5`: it tells a file by its type, as in `isinstance(entry["content"], tuple)`, or reads what each message has
  in Gradio alone, as in `entry["metadata"]`.

The last two go before `messages`, as reading messages is a part of them, and `gradio6` before `gradio5`. What is done
in functions of the same file that the history is passed to counts too.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

ShapeName: TypeAlias = Literal["tuples", "messages", "gradio5", "gradio6"]
Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda

_KEYS: Final = frozenset({"role", "content"})
_ALWAYS_IN_GRADIO: Final = frozenset({"metadata", "options"})
_PART_KEYS: Final = frozenset({"text", "type", "file", "path"})
_SAME: Final = frozenset({"list", "tuple", "reversed", "sorted", "iter", "copy", "deepcopy"})
"""Functions and methods whose result has the entries of what they are given."""

_MAX_CALLS: Final = 3
"""How many functions deep a history is followed."""

_MAX_SHOWN: Final = 60


@dataclass(frozen=True, slots=True)
class Shape:
    """A shape of history, and what says so."""

    name: ShapeName
    reason: str


def shape_in(function: Function, history: str, tree: ast.Module) -> Shape | None:
    """Return the shape in which a function's source takes the entries of its parameter `history`, if it says so."""
    found = sorted(_Reader(tree).read(function, history), key=lambda each: each.place)
    special = next((each for name in ("gradio6", "gradio5") for each in found if each.name == name), None)
    first = next(iter(found), None)
    if first is None:
        return None
    chosen = special if special is not None and first.name != "tuples" else first
    return Shape(chosen.name, f"line {chosen.line} says `{chosen.text}`")


@dataclass(frozen=True, slots=True)
class _Evidence:
    """Something the source does with an entry. `place` orders what a function does, its callees included."""

    name: ShapeName
    place: tuple[int, ...]
    line: int
    text: str


@dataclass(slots=True)
class _Names:
    """The names in a function that stand for a history, for an entry of one, for the content of an entry, or a part."""

    histories: set[str]
    entries: set[str] = field(default_factory=set)
    contents: set[str] = field(default_factory=set)
    parts: set[str] = field(default_factory=set)

    def size(self) -> int:
        return len(self.histories) + len(self.entries) + len(self.contents) + len(self.parts)

    # what an expression stands for

    def is_history(self, node: ast.AST) -> bool:
        match node:
            case ast.Name(name):
                return name in self.histories
            case ast.Subscript(value, ast.Slice()):
                return self.is_history(value)
            case ast.Call(ast.Name(name) | ast.Attribute(_, name), [first, *_]) if name in _SAME:
                return self.is_history(first)
            case ast.Call(ast.Attribute(value, "copy"), []) | ast.NamedExpr(_, value):
                return self.is_history(value)
            case ast.BoolOp(_, values):
                return any(map(self.is_history, values))
            case ast.IfExp(_, one, other) | ast.BinOp(one, ast.Add(), other):
                return self.is_history(one) or self.is_history(other)
            case _:
                return False

    def is_entry(self, node: ast.AST) -> bool:
        match node:
            case ast.Name(name):
                return name in self.entries
            case ast.Subscript(value, place):
                return not isinstance(place, ast.Slice) and self.is_history(value)
            case ast.Call(ast.Name("next"), [first, *_]) | ast.Call(ast.Attribute(first, "pop")):
                return self.is_history(first)
            case _:
                return False

    def is_content(self, node: ast.AST) -> bool:
        if isinstance(node, ast.Name):
            return node.id in self.contents
        return self.key_of(node, self.is_entry) == "content"

    def is_part(self, node: ast.AST) -> bool:
        match node:
            case ast.Name(name):
                return name in self.parts
            case ast.Subscript(value, place):
                return _is_number(place) and self.is_content(value)
            case _:
                return False

    @staticmethod
    def key_of(node: ast.AST, is_owner: Callable[[ast.AST], bool]) -> str | None:
        """Return the `x` of `owner["x"]` and `owner.get("x")`."""
        match node:
            case ast.Subscript(value, ast.Constant(str(key))) if is_owner(value):
                return key
            case ast.Call(ast.Attribute(value, "get"), [ast.Constant(str(key)), *_]) if is_owner(value):
                return key
            case _:
                return None

    # what names come to stand for

    def bind(self, target: ast.AST, value: ast.AST) -> None:
        """Learn what a target stands for that is given a value."""
        if not isinstance(target, ast.Name):
            return
        kinds: tuple[tuple[Callable[[ast.AST], bool], set[str]], ...] = (
            (self.is_history, self.histories),
            (self.is_entry, self.entries),
            (self.is_content, self.contents),
            (self.is_part, self.parts),
        )
        for holds, names in kinds:
            if holds(value):
                names.add(target.id)

    def bind_each(self, target: ast.AST, values: ast.AST) -> None:
        """Learn what a target stands for that is given each of some values."""
        if isinstance(target, ast.Name):
            if self.is_history(values):
                self.entries.add(target.id)
            if self.is_content(values):
                self.parts.add(target.id)


class _Reader:
    """Reads what the functions of a module do with the entries of a history."""

    def __init__(self, tree: ast.Module) -> None:
        self._functions = {
            node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }

    def read(self, function: Function, history: str, before: tuple[int, ...] = ()) -> Iterator[_Evidence]:
        names = _learn(function, history)
        for node in ast.walk(function):
            line = _line_of(node)
            place = (*before, line, getattr(node, "col_offset", 0))
            if (name := _evidence(node, names)) is not None:
                shown = ast.unparse(_head(node)).strip()
                text = shown if len(shown) <= _MAX_SHOWN else f"{shown[:_MAX_SHOWN]}…"
                yield _Evidence(name, place, line, text)
            if isinstance(node, ast.Call) and len(before) < 2 * _MAX_CALLS:
                yield from self._read_callee(function, node, names, place)

    def _read_callee(
        self, caller: Function, call: ast.Call, names: _Names, place: tuple[int, ...]
    ) -> Iterator[_Evidence]:
        """Read a function of the file that is given the history."""
        name = getattr(call.func, "id", getattr(call.func, "attr", ""))
        callee = self._functions.get(name)
        if callee is None or callee is caller:
            return
        own = [each.arg for each in (*callee.args.posonlyargs, *callee.args.args)]
        if isinstance(call.func, ast.Attribute) and own[:1] in (["self"], ["cls"]):
            own = own[1:]
        given = [*zip(own, call.args, strict=False), *((each.arg or "", each.value) for each in call.keywords)]
        for parameter, value in given:
            if names.is_history(value):
                yield from self.read(callee, parameter, place)


def _learn(function: Function, history: str) -> _Names:
    """Return what the names in a function stand for."""
    names = _Names({history})
    size = 0
    while names.size() != size:
        size = names.size()
        for node in ast.walk(function):
            match node:
                case ast.Assign(targets, value):
                    for target in targets:
                        names.bind(target, value)
                case ast.AnnAssign(target, _, ast.expr() as value) | ast.NamedExpr(target, value):
                    names.bind(target, value)
                case ast.For() | ast.AsyncFor() | ast.comprehension():
                    for target, values in _loops(node.target, node.iter):
                        names.bind_each(target, values)
                case ast.Call(ast.Name("map" | "filter"), [ast.Lambda(arguments), values]) if arguments.args:
                    names.bind_each(ast.Name(arguments.args[0].arg), values)
                case _:
                    pass
    return names


def _loops(target: ast.expr, values: ast.expr) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Yield what a loop gives to which target; `enumerate` and `zip` give several values at once."""
    match target, values:
        case ast.Tuple([_, entry]), ast.Call(ast.Name("enumerate"), [first, *_]):
            yield entry, first
        case ast.Tuple(targets), ast.Call(ast.Name("zip"), several) if len(targets) == len(several):
            yield from zip(targets, several, strict=True)
        case _:
            yield target, values


def _evidence(node: ast.AST, names: _Names) -> ShapeName | None:
    """Return the shape that a node speaks for."""
    if _takes_a_pair(node, names) or _adds(node, names, _is_pair):
        return "tuples"
    if names.key_of(node, names.is_part) in _PART_KEYS:
        return "gradio6"
    if _asks_for_a_tuple(node, names) or _relies_on_metadata(node, names):
        return "gradio5"
    if names.key_of(node, names.is_entry) in _KEYS or _adds(node, names, _is_message):
        return "messages"
    return None


def _relies_on_metadata(node: ast.AST, names: _Names) -> bool:
    """Whether a node reads, without a default, what messages of other shapes need not have."""
    return isinstance(node, ast.Subscript) and names.key_of(node, names.is_entry) in _ALWAYS_IN_GRADIO


def _takes_a_pair(node: ast.AST, names: _Names) -> bool:
    match node:
        case ast.For() | ast.AsyncFor() | ast.comprehension():
            loops = _loops(node.target, node.iter)
            return any(_is_pair(target) and names.is_history(values) for target, values in loops)
        case ast.Assign([target], value) if _is_pair(target):
            return names.is_entry(value) or _is_unzip(value, names)
        case ast.Subscript(value, place) if _is_number(place):
            return names.is_entry(value)
        case ast.Call(ast.Name("sum"), [first, ast.List([])]):
            return names.is_history(first)
        case ast.Call(ast.Attribute(_, "from_iterable"), [first]):
            return names.is_history(first)
        case _:
            return _is_unzip(node, names)


def _is_unzip(node: ast.AST, names: _Names) -> bool:
    match node:
        case ast.Call(ast.Name("zip" | "chain") | ast.Attribute(_, "chain"), [ast.Starred(value)]):
            return names.is_history(value)
        case _:
            return False


def _adds(node: ast.AST, names: _Names, is_entry: Callable[[ast.AST], bool]) -> bool:
    """Whether a node puts such an entry behind the history, or the history behind it."""
    match node:
        case ast.Call(ast.Attribute(value, "append"), [entry]):
            return names.is_history(value) and is_entry(entry)
        case ast.Call(ast.Attribute(value, "extend"), [ast.List(entries)]):
            return names.is_history(value) and any(map(is_entry, entries))
        case ast.BinOp(left, ast.Add(), right) | ast.AugAssign(left, ast.Add(), right):
            return any(
                names.is_history(one) and isinstance(other, ast.List) and any(map(is_entry, other.elts))
                for one, other in ((left, right), (right, left))
            )
        case ast.List(entries):
            starred = [each.value for each in entries if isinstance(each, ast.Starred)]
            return any(map(names.is_history, starred)) and any(map(is_entry, entries))
        case _:
            return False


def _asks_for_a_tuple(node: ast.AST, names: _Names) -> bool:
    match node:
        case ast.Call(ast.Name("isinstance"), [value, kinds]):
            return names.is_content(value) and any(
                isinstance(each, ast.Name) and each.id == "tuple" for each in ast.walk(kinds)
            )
        case ast.Compare(ast.Call(ast.Name("type"), [value]), _, [ast.Name("tuple")]):
            return names.is_content(value)
        case _:
            return False


def _is_pair(node: ast.AST) -> bool:
    return isinstance(node, ast.Tuple | ast.List) and len(node.elts) == 2 and not _has_star(node)


def _has_star(node: ast.Tuple | ast.List) -> bool:
    return any(isinstance(each, ast.Starred) for each in node.elts)


def _is_message(node: ast.AST) -> bool:
    match node:
        case ast.Dict(keys):
            return any(isinstance(key, ast.Constant) and key.value in _KEYS for key in keys)
        case ast.Call(ast.Name("dict"), _, keywords):
            return any(each.arg in _KEYS for each in keywords)
        case ast.Call(ast.Attribute(_, name) | ast.Name(name)):
            return name == "ChatMessage"
        case _:
            return False


def _is_number(node: ast.AST) -> bool:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        node = node.operand
    return isinstance(node, ast.Constant) and type(node.value) is int


def _head(node: ast.AST) -> ast.AST:
    """Return the part of a node to show: of a loop its first line."""
    if isinstance(node, ast.For | ast.AsyncFor):
        return ast.comprehension(node.target, node.iter, [], int(isinstance(node, ast.AsyncFor)))
    return node


def _line_of(node: ast.AST) -> int:
    """Return the line of a node, or of the first in it that has one."""
    return next((each.lineno for each in ast.walk(node) if hasattr(each, "lineno")), 0)
