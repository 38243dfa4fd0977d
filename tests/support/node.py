"""Clients that live in Node.js, run as scripts of their own: each prints one JSON value per line.

    lines = run_node(Path(__file__).parent / "openai.mjs", server.url, package="openai-6")

The packages are those of `tests/node/package.json`; `scripts/test` installs them.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.programs import require_program

NODE_FOLDER = Path(__file__).resolve().parents[1] / "node"


def require_node() -> str:
    """Return the path of node; skip without it or its packages, or fail under CI."""
    node = require_program("node")
    if not (NODE_FOLDER / "node_modules").is_dir():
        missing = "the Node packages of tests/node are not installed; scripts/test installs them"
        if os.environ.get("CI"):
            pytest.fail(f"{missing}, and CI is set")
        pytest.skip(missing)
    return node


def run_node(script: Path, *arguments: str, timeout_s: float = 60) -> list[Any]:
    """Run a script that lies in `tests/node` to its end and return what it printed.

    Raises:
        AssertionError: it failed, or printed something else than JSON lines.
    """
    command = [require_node(), "--no-warnings", str(script), *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, cwd=NODE_FOLDER, check=False)
    assert ran.returncode == 0, f"{script.name} ended with {ran.returncode}:\n{ran.stdout}\n{ran.stderr}"
    return [json.loads(line) for line in ran.stdout.splitlines() if line.strip()]
