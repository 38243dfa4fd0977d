"""The harness counts what arrives, and notices what does not."""

import sys
from collections.abc import Iterator

import pytest

from benchmarks.process import Cores
from benchmarks.regimes import Scale, measure_burst
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
