"""Python clients that want other versions of shared packages than the newest ones, each in an environment of its own.

    lines = run_in("gradio-1.14", Path(__file__).parent / "gradio_driver.py", server.url)

The environments are `.venv-<name>` beside the project; `scripts/test` makes them. A driver imports nothing of the tests
and prints one JSON value per line.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def require_environment(name: str) -> Path:
    """Return the environment's Python; skip the test without it, or fail it under CI."""
    python = ROOT / f".venv-{name}" / "bin" / "python"
    if not python.exists():
        missing = f"there is no {python.parent.parent.name}; scripts/test makes it"
        if os.environ.get("CI"):
            pytest.fail(f"{missing}, and CI is set")
        pytest.skip(missing)
    return python


def run_in(environment: str, script: Path, *arguments: str, timeout_s: float = 60) -> list[Any]:
    """Run a script to its end in an environment and return what it printed.

    Raises:
        AssertionError: it failed, or printed something else than JSON lines.
    """
    command = [str(require_environment(environment)), str(script), *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert ran.returncode == 0, f"{script.name} ended with {ran.returncode}:\n{ran.stdout}\n{ran.stderr}"
    return [json.loads(line) for line in ran.stdout.splitlines() if line.strip()]
