"""What a run was made on: machine, versions, date, command; and which servers cannot run for want of a package."""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

PROBE: Final = """
import importlib.metadata as m, json, platform, sys
def version(name):
    try: return m.version(name)
    except m.PackageNotFoundError: return None
print(json.dumps({"python": platform.python_version(), **{n: version(n) for n in sys.argv[1:]}}))
"""


def installed_versions(python: str, packages: Iterable[str]) -> dict[str, str | None]:
    """Return the version of each distribution as `python` sees it, None where it is missing; `python`'s own too."""
    done = subprocess.run([python, "-c", PROBE, *packages], capture_output=True, text=True, check=True)
    versions: dict[str, str | None] = json.loads(done.stdout)
    return versions


def describe_run(versions: Mapping[str, str], command: Sequence[str]) -> dict[str, str]:
    """Return the facts a reader needs to judge the numbers or to repeat them."""
    now = datetime.now(UTC)
    load_1min = os.getloadavg()[0]
    return {
        "command": f"`{shlex.join(command)}`",
        "date": f"{now:%Y-%m-%d %H:%M} UTC",
        "machine": f"{os.cpu_count()} × {_cpu_model()}, {_memory_gib():.0f} GiB, Linux {platform.release()}",
        "load before": f"{load_1min:.2f} (1 minute)",
        "versions": ", ".join(f"{name} {version}" for name, version in sorted(versions.items())),
    }


def _cpu_model() -> str:
    found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    return found[1] if found else platform.machine()


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
