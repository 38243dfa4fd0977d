"""What an installation brings: all that is imported, the fast loop and parser where they exist, and not much more."""

import ast
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.support.server import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
DEPENDENCIES = {requirement.name: requirement for requirement in map(Requirement, PROJECT["dependencies"])}
EXTRAS = {Requirement(each).name for extra in PROJECT["optional-dependencies"].values() for each in extra}
MODULES = {
    "sse_starlette": "sse-starlette",
    "pydantic_core": "pydantic",
    "python_multipart": "python-multipart",
    "typing_extensions": "typing-extensions",
}
MAX_INSTALLED_BYTES = 50 * 1024 * 1024


def imported_modules() -> set[str]:
    """Return the top-level modules that the package imports and Python does not bring."""
    names: set[str] = set()
    for path in (ROOT / "chatserve").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.partition(".")[0])
    return names - set(sys.stdlib_module_names) - {"chatserve"}


def test_all_that_is_imported_is_a_dependency() -> None:
    imported = {MODULES.get(name, name) for name in imported_modules()}
    assert {"starlette", "uvicorn", "click", "anyio"} <= imported
    assert imported <= DEPENDENCIES.keys() | EXTRAS


def test_every_dependency_has_a_floor() -> None:
    for requirement in DEPENDENCIES.values():
        assert any(each.operator == ">=" for each in requirement.specifier), str(requirement)
    assert "0.15" not in DEPENDENCIES["h11"].specifier


@pytest.mark.parametrize(
    ("implementation", "platform", "brought"),
    [
        ("CPython", "linux", {"uvloop", "httptools"}),
        ("CPython", "darwin", {"uvloop", "httptools"}),
        ("CPython", "win32", {"httptools"}),
        ("CPython", "cygwin", {"httptools"}),
        ("PyPy", "linux", set()),
    ],
)
def test_fast_loop_and_parser_are_installed_where_they_exist(
    implementation: str, platform: str, brought: set[str]
) -> None:
    environment = {"platform_python_implementation": implementation, "sys_platform": platform}
    installed = {name for name, each in DEPENDENCIES.items() if not each.marker or each.marker.evaluate(environment)}
    assert installed & {"uvloop", "httptools"} == brought
    assert {"uvicorn", "h11", "starlette"} <= installed


@pytest.mark.skipif(not os.environ.get("CI"), reason="installs from the package registry; CI does")
@pytest.mark.timeout(300)
def test_installation_is_small(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(tmp_path / "packages"), str(ROOT)]
    subprocess.run(command, check=True, timeout=280, cwd=tmp_path, stdin=subprocess.DEVNULL)
    files = [path for path in (tmp_path / "packages").rglob("*") if path.is_file()]
    assert {"uvloop", "httptools"} <= {path.parent.name for path in files}
    assert sum(path.stat().st_blocks * 512 for path in files) <= MAX_INSTALLED_BYTES
