"""The harness counts what arrives, and notices what does not."""

import sys
import time
from collections.abc import Iterator

import pytest

from benchmarks import regimes
from benchmarks.goals import NAMED
from benchmarks.load import Client, Exchange, Load
from benchmarks.process import Cores
from benchmarks.regimes import REGIMES, Scale, measure_burst
from benchmarks.responses import BadResponse, Marks, Response
from benchmarks.servers import SERVERS
from benchmarks.servers.answer import TOKEN
from benchmarks.subject import Subject, started

CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b'f\r\ndata: "quux "\n\n\r\n'
    b'1e\r\ndata: "quux "\n\ndata: "quux "\n\n\r\n'
    b'20\r\nevent: done\ndata: "quux quux "\n\n\r\n0\r\n\r\n'
)


@pytest.fixture(scope="module")
def subject() -> Iterator[Subject]:
    pytest.importorskip("uvloop")
    pytest.importorskip("httptools")
    with started(SERVERS["raw-asgi"], sys.executable, Cores(None, None)) as running:
        yield running


def test_every_token_of_every_answer_is_counted_once(subject: Subject):
    metrics = measure_burst(subject, Scale(closed_loop_s=0.05))
    assert not subject.failures
    assert metrics["events_per_token"] == 1
    assert metrics["cpu_us_per_token"] > 0


def test_a_missing_token_is_a_failure(subject: Subject):
    seen = subject.drive([(0.0, [subject.stream("tokens=5", 7), subject.stream("tokens=5", 5)])])
    assert seen.tally.answers == 1
    assert seen.tally.tokens == 10
    assert seen.tally.failures == ["5 tokens instead of 7"]


def test_a_stream_that_never_ends_is_a_failure(subject: Subject):
    seen = subject.drive([(0.0, [subject.stream("tokens=1 delay_ms=1000")])], give_up_s=0.1)
    assert seen.tally.failures == ["no end in time"]


def test_an_answer_is_spoken_from_its_first_token_to_its_last(monkeypatch: pytest.MonkeyPatch):
    client = Client(iter(()), Exchange((b"",), tokens=3), Response(Marks(TOKEN.encode())), begun=10.0)
    with Load(0, Marks(TOKEN.encode())) as loading:
        for now, tokens in ((10.5, 1), (11.0, 2), (12.0, 3), (15.0, 3)):
            monkeypatch.setattr(time, "perf_counter", lambda now=now: now)
            client.response.tokens = tokens
            loading._note_tokens(client)
    assert loading.tally.first_token_s == [0.5]
    assert client.spoken_s == 1.5


def test_every_answer_says_how_far_it_fell_behind_its_pace(subject: Subject, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Load, "_note_tokens", lambda _, client: setattr(client, "spoken_s", 1.0))
    metrics = regimes._measure_paced(subject, streams=4, per_s=10, tokens=3, ramp_s=0.01)
    assert (metrics["behind_p50_ms"], metrics["behind_p99_ms"]) == pytest.approx((800, 800))


def test_goals_are_about_what_the_full_form_measures():
    cells = {(server, regime) for server, regime in NAMED if regime != "ready"}
    assert {cell for cell in cells if not REGIMES[cell[1]].suits(SERVERS[cell[0]])} == set()


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 64, len(CHUNKED)])
def test_counts_do_not_depend_on_how_the_network_cuts_a_response(size: int):
    response = Response(Marks(TOKEN.encode(), b"event: done"))
    pieces = [CHUNKED[at : at + size] for at in range(0, len(CHUNKED), size)]
    assert [response.feed(piece) for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert (response.tokens, response.events, response.received_bytes) == (3, 4, len(CHUNKED))


def test_a_response_with_a_length_ends_there():
    response = Response(Marks(TOKEN.encode()))
    assert not response.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nquux ")
    assert response.feed(b"quux ")
    assert response.tokens == 2


def test_an_error_and_a_cut_are_told_apart_from_an_answer():
    with pytest.raises(BadResponse, match="status 503: Overloaded"):
        Response(Marks(b"x")).feed(b"HTTP/1.1 503 Service Unavailable\r\n\r\nOverloaded")
    with pytest.raises(BadResponse, match="closed after 0 tokens"):
        Response(Marks(b"x")).feed(b"")
