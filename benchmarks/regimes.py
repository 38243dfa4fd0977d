"""The regimes: each drives one running server in one way and returns what it measured, by name.

A metric's name carries its unit. A regime measures; what is good or bad is said in `benchmarks.goals`.
Knows no server by name: `Trait`s say which servers a regime suits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from statistics import quantiles
from typing import Final, TypeAlias

from benchmarks.load import Exchange, Tally
from benchmarks.servers import Server, Trait
from benchmarks.servers.answer import TOKEN
from benchmarks.subject import Observation, Subject

Metrics: TypeAlias = dict[str, float]

ANSWER_TOKENS: Final = 200
LONG_ANSWER_TOKENS: Final = 2000
HISTORY_MESSAGES: Final = (10, 1000, 10_000)
READERS: Final = (1, 8, 64)
IDLE_DELAY_MS: Final = 300_000
KIB: Final = 1024
MIB: Final = 1024 * KIB
LARGE_READERS: Final = 64
NAP_S: Final = 0.001
"""Where tokens are counted rather than timed, the load generator reads a thousand times per second."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of everything: the full form or the short one.

    After `warming_answers` a server is as it is after its first seconds: code warm, pools filled, files as large as
    they get.
    """

    warming_answers: int = 240
    closed_loop_s: float = 5.0
    paced_tokens: int = ANSWER_TOKENS
    fanout_tokens: int = 100
    first_token_rounds: int = 4
    idle_streams: int = 1000
    history_turns: int = 200
    reader_tokens: int = 500
    stored_sessions: int = 100_000


FULL: Final = Scale()
QUICK: Final = Scale(
    warming_answers=40,
    closed_loop_s=1.0,
    paced_tokens=100,
    fanout_tokens=40,
    first_token_rounds=1,
    history_turns=60,
    reader_tokens=200,
    stored_sessions=2000,
)


@dataclass(frozen=True, slots=True)
class Regime:
    """One way to load a server. It suits servers with any of `traits`."""

    title: str
    measure: Callable[[Subject, Scale], Metrics]
    traits: frozenset[Trait]
    needs_answer: bool = False

    def suits(self, server: Server) -> bool:
        """Tell whether this regime is run for `server`."""
        if self.needs_answer and server.dialect.answer is None:
            return False
        return bool(self.traits & server.traits)


def measure_burst(subject: Subject, scale: Scale) -> Metrics:
    """32 clients, each asking for the next answer as soon as it has one."""
    seen = subject.drive([(0.0, _closed_loop(subject, scale, ANSWER_TOKENS)) for _ in range(32)], nap_s=NAP_S)
    return _stream_metrics(seen)


def measure_paced(subject: Subject, scale: Scale) -> Metrics:
    """500 streams of 20 tokens per second each, started over one second."""
    return _measure_paced(subject, streams=500, per_s=20, tokens=scale.paced_tokens, ramp_s=1.0)


def measure_fanout(subject: Subject, scale: Scale) -> Metrics:
    """2,000 streams of 10 tokens per second each, started over four seconds."""
    return _measure_paced(subject, streams=2000, per_s=10, tokens=scale.fanout_tokens, ramp_s=4.0)


def measure_first_token(subject: Subject, scale: Scale) -> Metrics:
    """Time to the first token, connecting and the function's own 5 ms included.

    One client alone; 100 clients that began one after the other and whose answers have 20 tokens per second, or 200;
    100 clients that begin at the same moment.
    """
    rounds = scale.first_token_rounds

    def answers(count: int, tokens: int, per_s: int) -> Iterator[Exchange]:
        message = f"tokens={tokens} pause_ms={1000 / per_s:g} delay_ms=5"
        return (subject.stream(message, tokens) for _ in range(count))

    def together(count: int, tokens: int, per_s: int, ramp_s: float) -> Tally:
        return subject.drive([(n * ramp_s / 100, answers(count, tokens, per_s)) for n in range(100)]).tally

    measured = {
        "alone": [subject.drive([(0.0, answers(rounds * 5, 5, 200))]).tally],
        "paced": [together(rounds * 2, 20, 20, 1.0)],
        "busy": [together(rounds, 200, 200, 1.0)],
        "at_once": [together(1, 20, 200, 0.0) for _ in range(rounds * 3)],
    }
    metrics: Metrics = {}
    for name, tallies in measured.items():
        first_s = [seconds for tally in tallies for seconds in tally.first_token_s]
        metrics[f"{name}_p50_ms"] = percentile(first_s, 50) * 1000
        metrics[f"{name}_p99_ms"] = percentile(first_s, 99) * 1000
    return metrics


def measure_idle(subject: Subject, scale: Scale) -> Metrics:
    """Memory per open stream that waits for its first token."""
    message = f"tokens=1 delay_ms={IDLE_DELAY_MS}"
    grown = subject.hold([subject.stream(message) for _ in range(scale.idle_streams)])
    return {"kib_per_stream": grown / KIB}


def measure_idle_readers(subject: Subject, scale: Scale) -> Metrics:
    """Memory per open reader of a session in which nothing happens; a session each."""
    sessions = [subject.create("/sessions", {}).value["session_id"] for _ in range(scale.idle_streams)]
    grown = subject.hold([Exchange((_get(f"/sessions/{session_id}/events"),)) for session_id in sessions])
    return {"kib_per_reader": grown / KIB}


def measure_turns(subject: Subject, scale: Scale) -> Metrics:
    """64 keep-alive connections, each posting a short message and waiting for the whole answer."""

    def clients() -> Iterator[Exchange]:
        deadline = time.perf_counter() + scale.closed_loop_s
        while time.perf_counter() < deadline:
            yield subject.answer("tokens=5")

    seen = subject.drive([(0.0, clients()) for _ in range(64)], keep_alive=True)
    return {
        "turns_per_s": seen.tally.answers / seen.tally.wall_s,
        "cpu_us_per_turn": _per(seen.server_cpu_s * 1e6, seen.tally.answers),
        "p50_ms": percentile(seen.tally.duration_s, 50) * 1000,
        "p99_ms": percentile(seen.tally.duration_s, 99) * 1000,
        **_shares(seen),
    }


def measure_history(subject: Subject, scale: Scale) -> Metrics:
    """CPU of a short turn in a session that already holds 10, 1,000 and 10,000 messages."""
    metrics: Metrics = {}
    subject.drive([(0.0, (subject.answer("tokens=1") for _ in range(scale.history_turns)))], keep_alive=True)
    for count in HISTORY_MESSAGES:
        history = [{"role": ("user", "assistant")[n % 2], "content": f"message number {n}"} for n in range(count)]
        session_id = subject.create("/sessions", {"history": history}).value["session_id"]
        turn = _post("/chat", f'{{"message":"tokens=1","session_id":"{session_id}"}}')
        subject.drive([(0.0, [Exchange((turn,))] * 5)], keep_alive=True)
        seen = subject.drive([(0.0, [Exchange((turn,))] * scale.history_turns)], keep_alive=True)
        metrics[f"cpu_us_per_turn_{count}"] = _per(seen.server_cpu_s * 1e6, seen.tally.answers)
        metrics[f"p50_ms_{count}"] = percentile(seen.tally.duration_s, 50) * 1000
    return metrics


def measure_readers(subject: Subject, scale: Scale) -> Metrics:
    """CPU per delivered token when 1, 8 and 64 clients read the same answer, of 200 tokens per second.

    A server without sessions gives as many answers as there are readers: the price of the socket writes alone.
    """
    metrics: Metrics = {}
    for readers in READERS:
        message = f"tokens={scale.reader_tokens} pause_ms=5 delay_ms=500"
        if "sessions" in subject.server.traits:
            turn = subject.create("/chat", {"message": message}, {"Prefer": "respond-async"})
            exchange = Exchange((_get(f"{turn.location}/events"),), scale.reader_tokens)
        else:
            exchange = subject.stream(message, scale.reader_tokens)
        seen = subject.drive([(0.0, [exchange]) for _ in range(readers)], nap_s=NAP_S)
        metrics[f"cpu_us_per_token_{readers}"] = _cpu_us_per_token(seen)
    return metrics


def measure_length(subject: Subject, scale: Scale) -> Metrics:
    """Bytes and CPU per token of answers of 200 and of 2,000 tokens, four clients."""
    metrics: Metrics = {}
    for tokens in (ANSWER_TOKENS, LONG_ANSWER_TOKENS):
        seen = subject.drive([(0.0, _closed_loop(subject, scale, tokens)) for _ in range(4)], nap_s=NAP_S)
        metrics[f"bytes_per_token_{tokens}"] = _per(seen.tally.received_bytes, seen.tally.tokens)
        metrics[f"cpu_us_per_token_{tokens}"] = _cpu_us_per_token(seen)
    return metrics


def measure_stored(subject: Subject, scale: Scale) -> Metrics:
    """Memory per session that is stored and no longer used: each had one turn of five tokens."""
    _store_sessions(subject, scale.stored_sessions // 4)
    before = subject.process.rss_bytes()
    tally = _store_sessions(subject, scale.stored_sessions)
    grown = subject.process.rss_bytes() - before
    return {"kib_per_session": _per(grown / KIB, tally.answers)}


def measure_large(subject: Subject, scale: Scale) -> Metrics:
    """Peak memory while 64 clients read one answer of 1 MiB, said as fast as it can be, over that with one reader."""
    tokens = MIB // len(TOKEN)
    metrics: Metrics = {}
    for readers in (1, LARGE_READERS):
        before = subject.process.peak_rss_bytes()
        turn = subject.create("/chat", {"message": f"tokens={tokens} delay_ms=500"}, {"Prefer": "respond-async"})
        exchange = Exchange((_get(f"{turn.location}/events"),), tokens)
        seen = subject.drive([(0.0, [exchange]) for _ in range(readers)], nap_s=NAP_S)
        metrics[f"peak_mib_{readers}"] = (subject.process.peak_rss_bytes() - before) / MIB
        metrics[f"cpu_us_per_token_{readers}"] = _cpu_us_per_token(seen)
    return metrics


def _having(*traits: Trait) -> frozenset[Trait]:
    return frozenset(traits)


REGIMES: Final[Mapping[str, Regime]] = {
    "burst": Regime(
        "Burst: 32 clients, 200-token answers without a pause",
        measure_burst,
        _having("async", "sync", "snapshots", "protocol"),
    ),
    "paced": Regime("Paced: 500 streams × 20 tokens/s", measure_paced, _having("async", "protocol")),
    "fanout": Regime("2,000 streams × 10 tokens/s", measure_fanout, _having("fast")),
    "first-token": Regime("First token", measure_first_token, _having("async")),
    "idle": Regime("1,000 idle streams", measure_idle, _having("async")),
    "idle-readers": Regime("1,000 readers of silent sessions", measure_idle_readers, _having("sessions")),
    "turns": Regime("Short turns: 64 connections, no stream", measure_turns, _having("async"), needs_answer=True),
    "history": Regime("A turn in a long session", measure_history, _having("sessions")),
    "readers": Regime("One answer, many readers", measure_readers, _having("sessions", "floor")),
    "length": Regime("Long answers", measure_length, _having("async", "snapshots")),
    "large": Regime("An answer of 1 MiB, 64 readers", measure_large, _having("durable")),
    "stored": Regime("Stored sessions", measure_stored, _having("sessions")),
}


def percentile(values: list[float], percent: int) -> float:
    """Return a percentile; NaN of nothing."""
    if len(values) < 2:
        return values[0] if values else float("nan")
    return quantiles(values, n=100, method="inclusive")[percent - 1]


def _closed_loop(subject: Subject, scale: Scale, tokens: int) -> Iterator[Exchange]:
    """Yield exchanges until the time is up; an answer begun is finished."""
    deadline = time.perf_counter() + scale.closed_loop_s
    while time.perf_counter() < deadline:
        yield subject.stream(f"tokens={tokens}", tokens)


def _measure_paced(subject: Subject, *, streams: int, per_s: int, tokens: int, ramp_s: float) -> Metrics:
    """Say how much later than at their pace answers came.

    "Behind": the last token, after the first. "Late": the end, after the request; the storms of beginnings and ends
    show there, too.
    """
    message = f"tokens={tokens} pause_ms={1000 / per_s:g}"
    schedule = [(n * ramp_s / streams, [subject.stream(message, tokens)]) for n in range(streams)]
    seen = subject.drive(schedule, nap_s=NAP_S)
    late_s = [duration - tokens / per_s for duration in seen.tally.duration_s]
    behind_s = [spoken - (tokens - 1) / per_s for spoken in seen.tally.spoken_s]
    return {
        **_stream_metrics(seen),
        "behind_p50_ms": percentile(behind_s, 50) * 1000,
        "behind_p99_ms": percentile(behind_s, 99) * 1000,
        "late_p50_ms": percentile(late_s, 50) * 1000,
        "late_p99_ms": percentile(late_s, 99) * 1000,
    }


def _stream_metrics(seen: Observation) -> Metrics:
    tally = seen.tally
    return {
        "tokens_per_s": tally.tokens / tally.wall_s,
        "cpu_us_per_token": _cpu_us_per_token(seen),
        "events_per_token": _per(tally.events, tally.tokens),
        "bytes_per_token": _per(tally.received_bytes, tally.tokens),
        "first_p50_ms": percentile(tally.first_token_s, 50) * 1000,
        "first_p99_ms": percentile(tally.first_token_s, 99) * 1000,
        **_shares(seen),
    }


def _shares(seen: Observation) -> Metrics:
    """Return how busy the server, the load generator and everybody else were."""
    return {
        "server_cores": seen.server_cpu_s / seen.tally.wall_s,
        "client_cores": seen.tally.client_cpu_s / seen.tally.wall_s,
        "foreign_cores": seen.foreign_cpu_s / seen.tally.wall_s,
    }


def _cpu_us_per_token(seen: Observation) -> float:
    return _per(seen.server_cpu_s * 1e6, seen.tally.tokens)


def _per(total: float, count: int) -> float:
    """Divide; NaN by nothing, so that a run without answers reaches no goal."""
    return total / count if count else float("nan")


def _store_sessions(subject: Subject, count: int) -> Tally:
    clients = [(0.0, (subject.answer("tokens=5") for _ in range(count // 16))) for _ in range(16)]
    return subject.drive(clients, keep_alive=True, give_up_s=60 + count / 200).tally


def _get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n".encode()


def _post(path: str, body: str) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/json\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}"
    return f"{head}\r\n\r\n{body}".encode()
