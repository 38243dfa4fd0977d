"""schemathesis against a served application: what the OpenAPI document says is what the server does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.libraries import require
from tests.support.programs import UNMEASURED
from tests.support.server import launch

require("schemathesis")

HERE = Path(__file__).parent
SHORT = ("--max-examples", "5")
LONG = ("--max-examples", "300")


def run_schemathesis(folder: Path, store: str, seed: int, *options: str) -> None:
    """Run all checks and phases against an application of its own; its report is the failure's message."""
    served = ["-m", "uvicorn", "tests.routes.conformance_app:app", "--port", "0"]
    with launch(served, env={"CHATSERVE_STORE": store, "CHATSERVE_FILES_DIR": str(folder / "files")}) as server:
        command = [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(HERE / "schemathesis.toml")),
            *("run", f"{server.url}/openapi.json", "--checks", "all", "--phases", "examples,coverage,fuzzing,stateful"),
            *("--seed", str(seed), "--continue-on-failure", "--no-color", *options),
        ]
        outcome = subprocess.run(
            command,
            cwd=HERE,
            env=os.environ | UNMEASURED,
            capture_output=True,
            text=True,
            timeout=3000,
            check=False,
        )
    assert outcome.returncode == 0, outcome.stdout[-20_000:] + outcome.stderr[-5_000:]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("store", "seed"), [("sqlite:///{folder}/chat.db", 1), ("memory://", 2)])
def test_schemathesis_finds_nothing(store: str, seed: int, tmp_path: Path) -> None:
    run_schemathesis(tmp_path, store.format(folder=tmp_path), seed, *SHORT)


@pytest.mark.storm
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [11, 12, 13])
def test_schemathesis_finds_nothing_in_a_long_search(seed: int, tmp_path: Path) -> None:
    run_schemathesis(tmp_path, f"sqlite:///{tmp_path}/chat.db", seed, *LONG)
