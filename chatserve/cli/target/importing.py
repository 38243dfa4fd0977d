"""Imports a target's module, and says in one line why it cannot be. Knows nothing of what is in it."""

from __future__ import annotations

import ast
import importlib
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, ModuleType

from chatserve.cli.target.place import Source, TargetError


def import_module(source: Source) -> ModuleType:
    """Import a target's module. Raises: TargetError."""
    sys.path.insert(0, str(source.folder))
    with _failures_told(source):
        module = importlib.import_module(source.module)
    loaded = getattr(module, "__file__", None)
    if source.file is not None and (loaded is None or not source.file.samefile(loaded)):
        raise TargetError(
            f"target {source.name!r}: a module {source.module!r} is loaded already from {loaded or 'Python itself'}; "
            "rename the file"
        )
    return module


def read_tree(module: ModuleType) -> ast.Module:
    """Return the syntax tree of a module; an empty one if its source cannot be read."""
    return _parse(module.__file__ or "")


def tree_of(code: CodeType | None) -> ast.Module:
    """Return the syntax tree of the file that code is from; an empty one if it cannot be read."""
    return _parse(code.co_filename if code is not None else "")


def _parse(filename: str) -> ast.Module:
    try:
        return ast.parse(Path(filename).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return ast.Module([], [])


def run_main(module: ModuleType, tree: ast.Module, source: Source) -> None:
    """Run in a module what it runs as a program: the blocks under `if __name__ == "__main__":`. Raises: TargetError."""
    arguments, sys.argv = sys.argv, [module.__file__ or source.name]
    try:
        for block in _main_blocks(tree):
            code = compile(ast.Module(block, []), module.__file__ or source.name, "exec")
            with _failures_told(source):
                exec(code, vars(module))  # noqa: S102 - the developer's own file, which was imported a moment ago
    finally:
        sys.argv = arguments


def _main_blocks(tree: ast.Module) -> Iterator[list[ast.stmt]]:
    for statement in tree.body:
        if isinstance(statement, ast.If) and ast.unparse(statement.test) == "__name__ == '__main__'":
            yield statement.body


@contextmanager
def _failures_told(source: Source) -> Iterator[None]:
    """Turn whatever the developer's file raises, exits included, into a `TargetError`."""
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise TargetError(_failure(error, source)) from error


def _failure(error: BaseException, source: Source) -> str:
    """Say in one line what went wrong, and where in the developer's files."""
    if isinstance(error, ModuleNotFoundError) and _is_prefix(error.name, source.module):
        return f"target {source.module!r}: there is no module {error.name!r} (looked in {str(source.folder)!r} too)"
    what = " ".join(f"{type(error).__name__}: {error.msg if isinstance(error, SyntaxError) else error}".split())
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_shown(error.filename)}:{error.lineno}: {what}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if source.has_written(frame.filename)]
    place = f"{_shown(own[-1].filename)}:{own[-1].lineno}" if own else source.name
    return f"{place}: {what.rstrip(': ')}"


def _is_prefix(name: str | None, module: str) -> bool:
    return name is not None and f"{module}.".startswith(f"{name}.")


def _shown(filename: str) -> str:
    path = Path(filename)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else filename
