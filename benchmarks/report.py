"""Tables of a run, in Markdown, and the generated section of `docs/performance.md`. Knows results and goals only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from benchmarks.goals import GOALS
from benchmarks.plot import draw_cpu
from benchmarks.regimes import REGIMES
from benchmarks.results import Results
from benchmarks.servers import SERVERS

BEGIN: Final = "<!-- benchmarks: begin; written by `python -m benchmarks --write-docs` -->"
END: Final = "<!-- benchmarks: end -->"
PLOT: Final = "performance.svg"

SUMMARY: Final[Sequence[tuple[str, str, str]]] = (
    ("burst tokens/s", "burst", "tokens_per_s"),
    ("burst CPU µs/token", "burst", "cpu_us_per_token"),
    ("paced CPU µs/token", "paced", "cpu_us_per_token"),
    ("paced first token p50 ms", "paced", "first_p50_ms"),
    ("p99 ms", "paced", "first_p99_ms"),
    ("bytes/token", "burst", "bytes_per_token"),
    ("events/token", "burst", "events_per_token"),
    ("KiB/idle stream", "idle", "kib_per_stream"),
    ("KiB/stored session", "stored", "kib_per_session"),
    ("turns/s", "turns", "turns_per_s"),
)

NOTES: Final = """\
A *token* is what the chat function yields; it is counted in the bytes that clients receive. An *event* is one `data:`
line. *CPU* is that of the server's whole process tree until a quarter of a second after the last byte. The *cores*
columns say how busy the server, the load generator, and everybody else on the server's core were: a load generator
near 1 measures itself. *late* is the end of an answer against its ideal end, counted from the request; *behind* is its
last token against its pace, counted from its first. Times include connecting. Each regime starts its server afresh;
*ready* is the time from that start to the end of its first answer."""

_UNITS: Final[Mapping[str, str]] = {"us": "µs", "kib": "KiB", "cpu": "CPU", "p50": "p50", "p99": "p99"}


def markdown(results: Results) -> str:
    """Return the whole report."""
    return "\n\n".join(_sections(results)) + "\n"


def write_docs(results: Results, page: Path) -> None:
    """Replace the generated section of `page`, or append it, and draw the plot beside it."""
    section = f"{BEGIN}\n\n![CPU per token]({PLOT})\n\n{markdown(results)}\n{END}\n"
    text = page.read_text(encoding="utf-8") if page.exists() else "# Performance\n\n"
    head, begin, rest = text.partition(BEGIN)
    tail = rest.partition(END)[2].lstrip("\n") if begin else ""
    page.write_text(head + section + tail, encoding="utf-8")
    (page.parent / PLOT).write_text(draw_cpu(results), encoding="utf-8")


def format_number(value: float | None) -> str:
    """Return three significant digits, thousands grouped; a dash for nothing."""
    if value is None or value != value:
        return "–"
    for limit, decimals in ((100, 0), (10, 1), (1, 2)):
        if abs(value) >= limit:
            return f"{value:,.{decimals}f}"
    return f"{value:.2g}" if value else "0"


def _sections(results: Results) -> Iterable[str]:
    yield "\n".join(f"- {name}: {fact}" for name, fact in results.facts.items())
    yield "## Goals\n\n" + _goal_table(results)
    yield "## Summary\n\n" + _summary_table(results)
    for name, regime in REGIMES.items():
        metrics = results.metrics_of(name)
        if metrics:
            yield f"## {regime.title}\n\n" + _regime_table(results, name, metrics)
    yield NOTES
    if results.absent:
        yield "Not measured, as not installed:\n\n" + _list(
            f"{SERVERS[k].title}: {v}" for k, v in results.absent.items()
        )
    if results.broken:
        yield "Not measured, as the server failed:\n\n" + _list(results.broken)
    if results.failed:
        yield "Answers that went wrong:\n\n" + _list(results.failed)


def _goal_table(results: Results) -> str:
    rows = [
        (goal.title, goal.limit, f"{format_number(goal.reached(results))} {goal.unit}", goal.verdict(results))
        for goal in GOALS
    ]
    return _table(("goal", "limit", "reached", "verdict"), rows)


def _summary_table(results: Results) -> str:
    def row(name: str) -> list[str]:
        cells = [format_number(results.value(name, regime, metric)) for _, regime, metric in SUMMARY]
        return [SERVERS[name].title, *cells, format_number(results.ready_s(name))]

    columns = ["server", *(title for title, _, _ in SUMMARY), "ready s"]
    return _table(columns, [row(name) for name in _measured_servers(results, lambda _: True)])


def _regime_table(results: Results, regime: str, metrics: list[str]) -> str:
    rows = [
        [SERVERS[name].title, *(format_number(results.value(name, regime, metric)) for metric in metrics)]
        for name in _measured_servers(results, lambda measured: measured == regime)
    ]
    return _table(["server", *map(_column, metrics)], rows)


def _measured_servers(results: Results, is_wanted: Callable[[str], bool]) -> list[str]:
    measured = {cell.server for cell in results.cells if is_wanted(cell.regime)}
    return [name for name in SERVERS if name in measured]


def _column(metric: str) -> str:
    """Return a metric's name for people: `cpu_us_per_token` is `CPU µs per token`."""
    return " ".join(_UNITS.get(word, word) for word in metric.split("_")).replace(" per s", "/s")


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    rule = ["---"] + ["---:"] * (len(columns) - 1)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (columns, rule, *rows))


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
