"""The goals, as ratios within one run, and their verdicts. A goal that is missed stays in the table.

Each goal compares one measured value with another or with a number. Knows results, not how they were measured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, TypeAlias

from benchmarks.results import Results


class Measured(NamedTuple):
    """A cell's metric. The regime `ready` is the start itself."""

    server: str
    regime: str
    metric: str

    def of(self, results: Results) -> float | None:
        """Return the median; None if it was not measured."""
        if self.regime == "ready":
            return results.ready_s(self.server)
        return results.value(*self)


Verdict: TypeAlias = Literal["hit", "missed", "not measured"]


@dataclass(frozen=True, slots=True)
class Goal:
    """`value`, divided by `over` or less `minus` where given, is `at_most` or `at_least` a number."""

    title: str
    value: Measured
    over: Measured | None = None
    minus: Measured | None = None
    at_most: float | None = None
    at_least: float | None = None
    unit: str = "×"

    @property
    def parts(self) -> tuple[Measured, ...]:
        """What is compared."""
        return tuple(part for part in (self.value, self.over, self.minus) if part is not None)

    @property
    def limit(self) -> str:
        """The number to reach, as text."""
        return f"≤ {self.at_most:g} {self.unit}" if self.at_least is None else f"≥ {self.at_least:g} {self.unit}"

    def reached(self, results: Results) -> float | None:
        """Return what was reached; None if a part of it was not measured, NaN if nothing was answered."""
        value = self.value.of(results)
        other = self.over or self.minus
        if value is None or other is None:
            return value
        base = other.of(results)
        if base is None:
            return None
        return value - base if self.minus else value / base

    def verdict(self, results: Results) -> Verdict:
        """Say whether the goal is reached."""
        reached = self.reached(results)
        if reached is None or math.isnan(reached):
            return "not measured"
        is_hit = reached >= self.at_least if self.at_least is not None else reached <= (self.at_most or 0.0)
        return "hit" if is_hit else "missed"


def _speed(server: str) -> Measured:
    return Measured(server, "burst", "tokens_per_s")


def _cpu(server: str, regime: str) -> Measured:
    return Measured(server, regime, "cpu_us_per_token")


def _of(regime: str, metric: str, server: str = "chatserve") -> Measured:
    return Measured(server, regime, metric)


GOALS: Final[tuple[Goal, ...]] = (
    Goal("Burst, tokens/s over Gradio", _speed("chatserve"), over=_speed("gradio"), at_least=25),
    Goal(
        "Burst, tokens/s over Gradio, the same function",
        _speed("chatserve-snapshots"),
        over=_speed("gradio"),
        at_least=25,
    ),
    Goal(
        "Burst, every word an event, tokens/s over Gradio",
        _speed("chatserve-unheld"),
        over=_speed("gradio"),
        at_least=25,
    ),
    Goal("Burst, tokens/s over Gradio, sync", _speed("chatserve-sync"), over=_speed("gradio-sync"), at_least=25),
    Goal("Burst, tokens/s over ADK, both on SQLite", _speed("chatserve"), over=_speed("adk"), at_least=15),
    Goal(
        "Burst, tokens/s over ADK, both in memory", _speed("chatserve-memory"), over=_speed("adk-memory"), at_least=15
    ),
    Goal("Burst, every word an event, tokens/s over ADK", _speed("chatserve-unheld"), over=_speed("adk"), at_least=15),
    Goal("Burst, tokens/s over LitServe", _speed("chatserve"), over=_speed("litserve"), at_least=15),
    Goal(
        "Burst, CPU per token over sse-starlette",
        _cpu("chatserve", "burst"),
        over=_cpu("sse-starlette", "burst"),
        at_most=0.9,
    ),
    Goal(
        "Burst, every word an event, CPU per token over sse-starlette",
        _cpu("chatserve-unheld", "burst"),
        over=_cpu("sse-starlette", "burst"),
        at_most=0.9,
    ),
    Goal(
        "Burst, sync generator, tokens/s over Starlette",
        _speed("chatserve-sync"),
        over=_speed("starlette-sync"),
        at_least=5,
    ),
    Goal(
        "Paced, CPU per token over sse-starlette",
        _cpu("chatserve", "paced"),
        over=_cpu("sse-starlette", "paced"),
        at_most=0.8,
    ),
    Goal("Paced, CPU per token over raw ASGI", _cpu("chatserve", "paced"), over=_cpu("raw-asgi", "paced"), at_most=1.7),
    *(
        Goal(
            f"Burst, CPU per token of {title} over the native API",
            _cpu(server, "burst"),
            over=_cpu("chatserve", "burst"),
            at_most=1.5,
        )
        for server, title in (
            ("chatserve-openai", "Chat Completions"),
            ("chatserve-responses", "Responses"),
            ("chatserve-anthropic", "Anthropic"),
            ("chatserve-gradio", "Gradio's protocol"),
        )
    ),
    Goal(
        "First token alone, more than Starlette",
        _of("first-token", "alone_p50_ms"),
        minus=_of("first-token", "alone_p50_ms", "starlette"),
        at_most=3,
        unit="ms",
    ),
    *(
        Goal(
            f"First token, 100 {clients}, over Starlette",
            _of("first-token", f"{name}_p50_ms"),
            over=_of("first-token", f"{name}_p50_ms", "starlette"),
            at_most=1.2,
        )
        for clients, name in (
            ("streams of 20 tokens/s", "paced"),
            ("streams of 200 tokens/s", "busy"),
            ("at the same moment", "at_once"),
        )
    ),
    Goal("2,000 streams, behind their pace, p99", _of("fanout", "behind_p99_ms"), at_most=100, unit="ms"),
    Goal("2,000 streams begun in 4 s, late since asked for, p99", _of("fanout", "late_p99_ms"), at_most=100, unit="ms"),
    Goal("Idle stream", _of("idle", "kib_per_stream"), at_most=25, unit="KiB"),
    Goal("Idle reader of a session", _of("idle-readers", "kib_per_reader"), at_most=25, unit="KiB"),
    Goal("Memory per stored session", _of("stored", "kib_per_session"), at_most=2, unit="KiB"),
    Goal("Answer of 1 MiB, 64 readers, peak memory", _of("large", "peak_mib_64"), at_most=128, unit="MiB"),
    Goal("Ready after", Measured("chatserve", "ready", "ready_s"), at_most=1, unit="s"),
    Goal(
        "Bytes per token, answer of 2,000 over one of 200",
        _of("length", "bytes_per_token_2000"),
        over=_of("length", "bytes_per_token_200"),
        at_most=1.1,
    ),
    Goal(
        "Turn at 10,000 messages over one at 10",
        _of("history", "cpu_us_per_turn_10000"),
        over=_of("history", "cpu_us_per_turn_10"),
        at_most=1.5,
    ),
    Goal(
        "64 readers, CPU per token over raw ASGI's 64 writes",
        _of("readers", "cpu_us_per_token_64"),
        over=_of("readers", "cpu_us_per_token_64", "raw-asgi"),
        at_most=1,
    ),
    Goal("Short turns, SQLite", _of("turns", "turns_per_s"), at_least=1500, unit="turns/s"),
)

NAMED: Final = frozenset((part.server, part.regime) for goal in GOALS for part in goal.parts)
"""The servers and regimes that goals are about: all that the short form runs."""
