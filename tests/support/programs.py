"""Programs that some tests need and a laptop may lack: skipped there with a reason, required where CI is set."""

import os
import shutil

import pytest

UNMEASURED = {"COVERAGE_PROCESS_CONFIG": "", "COVERAGE_PROCESS_START": ""}
"""Variables for processes that coverage would only slow down: they run nothing of chatserve, or are killed."""


def require_program(*names: str) -> str:
    """Return the path of the first of `names` that is installed; skip the test without one, or fail it under CI."""
    for name in names:
        if path := shutil.which(name):
            return path
    missing = f"none of {', '.join(names)} is installed"
    if os.environ.get("CI"):
        pytest.fail(f"{missing}, and CI is set")
    pytest.skip(missing)
