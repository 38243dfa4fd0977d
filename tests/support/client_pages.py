"""Pages about clients: programs that run against the application the page shows first, and print what they say.

What a program prints stands behind its `print` or `console.log`: `print(answer)  # Hello`. The endpoints that a page is
about stand in its table "method and path".
"""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.support.documents import ADDRESS, blocks
from tests.support.environments import require_environment
from tests.support.libraries import require
from tests.support.node import NODE_FOLDER, require_node
from tests.support.programs import UNMEASURED
from tests.support.server import ROOT, Server

PRINTED = re.compile(r"(?:^print|console\.log)\(.*\);?  ?(?:#|//) (.*)$", re.MULTILINE)
IMPORTED = re.compile(r"^(?:from|import) (\w+)", re.MULTILINE)
ENDPOINTS = re.compile(r"^\| method and path .*\n(?:\|.*\n)+", re.MULTILINE)
PREFIX_OF_CHOICE = " /openai/"
RUN_TIMEOUT_S = 50


def client_page(name: str) -> str:
    """Return a page of `docs/clients`."""
    return (ROOT / "docs" / "clients" / f"{name}.md").read_text("utf-8")


# --- programs --------------------------------------------------------------------------------------------------------


def python_programs(page: str) -> list[str]:
    """Return the Python programs of a page, without the application, which is the first."""
    return [text for language, text in blocks(page) if language == "python"][1:]


def node_programs(page: str) -> list[str]:
    """Return the programs for Node.js."""
    return [text for language, text in blocks(page) if language == "js"]


def printed_by(program: str) -> list[str]:
    """Return what a program says that it prints."""
    printed = PRINTED.findall(program)
    assert printed, f"it says nothing: {program}"
    return printed


def run_python(program: str, server: Server, folder: Path) -> list[str]:
    """Run a Python program; return the lines it printed. Skips without its libraries."""
    return _run([_python_for(program), "-c"], program, server, folder)


def run_javascript(program: str, server: Server) -> list[str]:
    """Run a program for Node.js; return the lines it printed. Skips without Node.js or its packages."""
    return _run([require_node(), "--input-type=module", "--eval"], program, server, NODE_FOLDER)


def _python_for(program: str) -> str:
    modules = IMPORTED.findall(program)
    if "litellm" in modules:
        return str(require_environment("litellm"))
    for module in modules:
        require(module)
    return sys.executable


def _run(command: Sequence[str], program: str, server: Server, folder: Path) -> list[str]:
    done = subprocess.run(
        [*command, program.replace(f"http://{ADDRESS}", server.url)],
        cwd=folder,
        env={**os.environ, **UNMEASURED, "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


# --- endpoints -------------------------------------------------------------------------------------------------------


def endpoints_told(page: str) -> set[str]:
    """Return the endpoints in a page's table, as `METHOD /path`."""
    (table,) = ENDPOINTS.findall(page)
    return set(re.findall(r"`([A-Z]+ /[^`]*)`", table))


def endpoints_served(server: Server, format_name: str) -> set[str]:
    """Return the endpoints a server says it has for a format, without those that stand again below another prefix."""
    served = {f"{each['method']} {each['path']}" for each in server.get("/").json()["protocols"][format_name]}
    return {endpoint for endpoint in served if PREFIX_OF_CHOICE not in endpoint}
