"""Programs that some tests need and a laptop may lack: skipped there with a reason, required where CI is set."""

import os
import shutil

import pytest


def require_program(*names: str) -> str:
    """Return the path of the first of `names` that is installed; skip the test without one, or fail it under CI."""
    for name in names:
        if path := shutil.which(name):
            return path
    missing = f"none of {', '.join(names)} is installed"
    if os.environ.get("CI"):
        pytest.fail(f"{missing}, and CI is set")
    pytest.skip(missing)


def unmeasured() -> dict[str, str]:
    """Return an environment for Python programs that run nothing of chatserve: coverage would only slow them down."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
