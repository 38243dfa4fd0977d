"""Libraries that tests hold chatserve against: skipped where they are not installed, required where CI is set."""

import importlib
import os
from types import ModuleType

import pytest


def require(module: str) -> ModuleType:
    """Return the module; skip the test module or test without it, or fail under CI."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if os.environ.get("CI"):
            pytest.fail(f"{error}, and CI is set: install the dependency group 'conformance'")
        pytest.skip(str(error), allow_module_level=True)
