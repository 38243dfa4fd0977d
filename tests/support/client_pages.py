"""Pages about clients: programs that run against the application the page shows first, and print what they say.

What a program prints stands behind its `print` or `console.log`: `print(answer)  # Hello`.
"""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.support.documents import ADDRESS, blocks
from tests.support.libraries import require
from tests.support.node import NODE_FOLDER, require_node
from tests.support.server import Server

PRINTED = re.compile(r"^(?:print|console\.log)\(.*\);?  ?(?:#|//) (.*)$", re.MULTILINE)
IMPORTED = re.compile(r"^(?:from|import) (\w+)", re.MULTILINE)
RUN_TIMEOUT_S = 50


def python_programs(page: str) -> list[str]:
    """Return the Python programs of a page, without the application, which is the first."""
    return [text for language, text in blocks(page) if language == "python"][1:]


def node_programs(page: str) -> list[str]:
    """Return the programs for Node.js."""
    return [text for language, text in blocks(page) if language == "js"]


def run_python(program: str, server: Server, folder: Path) -> list[str]:
    """Run a Python program; return the lines it printed. Skips without its libraries."""
    for module in IMPORTED.findall(program):
        require(module)
    return _run([sys.executable, "-c"], program, server, folder)


def run_javascript(program: str, server: Server) -> list[str]:
    """Run a program for Node.js; return the lines it printed. Skips without Node.js or its packages."""
    return _run([require_node(), "--input-type=module", "--eval"], program, server, NODE_FOLDER)


def _run(command: Sequence[str], program: str, server: Server, folder: Path) -> list[str]:
    done = subprocess.run(
        [*command, program.replace(f"http://{ADDRESS}", server.url)],
        cwd=folder,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
