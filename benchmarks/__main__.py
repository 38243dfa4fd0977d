"""The command: starts each server in turn, drives all with the same load, prints one report."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from benchmarks.facts import describe_run, installed_versions
from benchmarks.goals import NAMED
from benchmarks.process import REPOSITORY, Cores, ServerFailed
from benchmarks.regimes import FULL, QUICK, REGIMES
from benchmarks.report import markdown, write_docs
from benchmarks.results import Cell, Results
from benchmarks.servers import SERVERS
from benchmarks.subject import interpreter, started

DOCS_PAGE: Final = REPOSITORY / "docs" / "performance.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks; return 1 if something failed that should have run."""
    options = _parse(arguments)
    pythons = {name: interpreter(name, os.environ, options.peer_python) for name in options.servers}
    results = _prepare(pythons, _command(options))
    _measure(options, pythons, results)
    print(markdown(results))
    if options.json:
        options.json.write_text(json.dumps(results.as_json(), indent=1), encoding="utf-8")
    if options.write_docs:
        write_docs(results, DOCS_PAGE)
    return 1 if results.broken else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure chatserve beside its peers.")
    parser.add_argument("--quick", action="store_true", help="what goals are about, once: under three minutes")
    parser.add_argument("--servers", type=KeysOf(SERVERS), default=list(SERVERS), help="comma-separated: %(default)s")
    parser.add_argument("--regimes", type=KeysOf(REGIMES), default=list(REGIMES), help="comma-separated: %(default)s")
    parser.add_argument("--repeats", type=int, help="how often; medians are shown (default: 3, with --quick 1)")
    parser.add_argument("--peer-python", help="interpreter of the peers; BENCH_PYTHON_<SERVER> wins over it")
    parser.add_argument("--json", type=Path, help="write every single measurement to this file")
    parser.add_argument("--write-docs", action="store_true", help="write docs/performance.md and its plot")
    return parser.parse_args(arguments)


class KeysOf:
    """Reads a comma-separated list of keys of `known`."""

    def __init__(self, known: Mapping[str, object]) -> None:
        self._known = known

    def __call__(self, text: str) -> list[str]:
        names = text.split(",")
        unknown = [name for name in names if name not in self._known]
        if unknown:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; known: {', '.join(self._known)}")
        return names


def _prepare(pythons: Mapping[str, str], command: Sequence[str]) -> Results:
    """Find out which servers can run, and with which versions."""
    packages = sorted({package for name in pythons for package in SERVERS[name].packages})
    installed = {python: installed_versions(python, packages) for python in set(pythons.values())}
    used: dict[str, str] = {}
    absent: dict[str, str] = {}
    for name, python in pythons.items():
        versions = installed[python]
        missing = [package for package in SERVERS[name].packages if versions[package] is None]
        if missing:
            absent[name] = f"pip install {' '.join(missing)}"
            print(f"{name}: not installed, skipped ({absent[name]})", file=sys.stderr)
            continue
        used |= {p: str(versions[p]) for p in ("python", *SERVERS[name].packages)}
    return Results(describe_run(used, command), absent=absent)


def _command(options: argparse.Namespace) -> list[str]:
    """Return the command that measures the same again; paths of this machine are no part of it."""
    command = ["python", "-m", "benchmarks", *(["--quick"] if options.quick else [])]
    for option, chosen, known in (
        ("--servers", options.servers, SERVERS),
        ("--regimes", options.regimes, REGIMES),
    ):
        command += [option, ",".join(chosen)] if chosen != list(known) else []
    return command + (["--repeats", str(options.repeats)] if options.repeats else [])


def _measure(options: argparse.Namespace, pythons: Mapping[str, str], results: Results) -> None:
    """Run regime after regime, in each one server after the other, so that what is compared is close in time."""
    cores = Cores.divide()
    if cores.client is not None:
        os.sched_setaffinity(0, cores.client)
    for _ in range(options.repeats or (1 if options.quick else 3)):
        for regime in options.regimes:
            for name in options.servers:
                is_wanted = (name, regime) in NAMED if options.quick else REGIMES[regime].suits(SERVERS[name])
                if is_wanted and name not in results.absent:
                    _measure_cell(name, regime, pythons[name], cores, options.quick, results)


def _measure_cell(name: str, regime: str, python: str, cores: Cores, is_quick: bool, results: Results) -> None:
    begun = time.perf_counter()
    try:
        scale = QUICK if is_quick else FULL
        with started(SERVERS[name], python, cores, warming_answers=scale.warming_answers) as subject:
            metrics = REGIMES[regime].measure(subject, scale)
            failures = subject.failures
            metrics |= {"failures": failures.total(), "ready_s": subject.ready_s}
            results.cells.append(Cell(name, regime, metrics))
            results.failed += [f"{name}, {regime}: {count} × {reason}" for reason, count in failures.most_common(3)]
            outcome = f"{failures.total()} failures"
    except (ServerFailed, OSError) as error:
        results.broken.append(f"{name}, {regime}: {error}")
        outcome = f"failed: {error}"
    print(f"{regime:12} {name:22} {time.perf_counter() - begun:5.1f} s  {outcome}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
