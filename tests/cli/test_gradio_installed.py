"""Files for Gradio are read the same with Gradio installed as with the stand-in, and Gradio starts no server."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.gradio_files import FILES, SIGNATURES
from tests.support.environments import require_environment
from tests.support.server import ROOT

READER = Path(__file__).with_name("gradio_reader.py")
TIMEOUT_S = 120


def output_of(python: str | Path, *args: str | Path) -> str:
    ran = subprocess.run(
        [str(python), *map(str, args)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "GRADIO_ANALYTICS_ENABLED": "False"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def read_files(python: str | Path, folder: Path) -> dict[str, Any]:
    folder.mkdir()
    lines = [line for line in output_of(python, READER, folder).splitlines() if line.startswith("[")]
    return dict(map(json.loads, lines))


@pytest.fixture(scope="module")
def readings(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    installed = require_environment("gradio-app")
    folder = tmp_path_factory.mktemp("files")
    return read_files(installed, folder / "installed"), read_files(sys.executable, folder / "stand_in")


@pytest.mark.timeout(2 * TIMEOUT_S)
@pytest.mark.parametrize("name", FILES)
def test_file_is_read_the_same_with_gradio_installed(readings: tuple[dict[str, Any], dict[str, Any]], name: str):
    installed, stand_in = readings
    assert installed[name] == stand_in[name]


def test_signature_of_the_docs_is_that_of_the_installed_gradio():
    code = "import gradio, inspect; print(*inspect.signature(gradio.ChatInterface.__init__).parameters)"
    names = output_of(require_environment("gradio-app"), "-c", code).split()
    assert names[1:] == SIGNATURES["6"]
