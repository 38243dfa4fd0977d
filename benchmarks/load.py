"""The load generator: one thread, one epoll, raw sockets.

It must cost far less than any server under test, so that it never is what is measured; `Tally.client_cpu_s` tells.
Knows no server and no regime.
"""

from __future__ import annotations

import gc
import heapq
import select
import socket
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, Self

from benchmarks.responses import BadResponse, Marks, Response

RECEIVE_BYTES: Final = 1 << 18
SEND_TIMEOUT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Exchange:
    """One answer: requests sent one after the other; the response to the last is counted.

    `tokens` is how many must come; None where that is not checked.
    """

    requests: tuple[bytes, ...]
    tokens: int | None = None


@dataclass(slots=True)
class Tally:
    """What was received. Times are in seconds, of which `first_token_s` and `duration_s` have one per answer.

    So has `spoken_s`: the time from the first token to the last.
    """

    tokens: int = 0
    events: int = 0
    received_bytes: int = 0
    answers: int = 0
    failures: list[str] = field(default_factory=list)
    first_token_s: list[float] = field(default_factory=list)
    duration_s: list[float] = field(default_factory=list)
    spoken_s: list[float] = field(default_factory=list)
    wall_s: float = 0.0
    client_cpu_s: float = 0.0

    def count(self, response: Response, expected_tokens: int | None, duration_s: float, spoken_s: float | None) -> None:
        """Add what one answer delivered; one with too many or too few tokens is a failure and has no duration."""
        self.tokens += response.tokens
        self.events += response.events
        self.received_bytes += response.received_bytes
        if expected_tokens in {None, response.tokens}:
            self.answers += 1
            self.duration_s.append(duration_s)
            if spoken_s is not None:
                self.spoken_s.append(spoken_s)
        else:
            self.failures.append(f"{response.tokens} tokens instead of {expected_tokens}")


@dataclass(slots=True)
class Client:
    """Takes its exchanges one after the other. `first_token_at` is None until the one at hand has its first token.

    `spoken_s` is None until it has all that it is to have.
    """

    exchanges: Iterator[Exchange]
    exchange: Exchange
    response: Response
    sock: socket.socket | None = None
    step: int = 0
    begun: float = 0.0
    first_token_at: float | None = None
    spoken_s: float | None = None

    @property
    def is_at_last_step(self) -> bool:
        """True while the counted response is awaited."""
        return self.step == len(self.exchange.requests) - 1


class Load:
    """Drives clients against one port until they have no more exchanges.

    `nap_s` is slept after each round of reading. Without it the load generator wakes up for every event, which costs
    it more than some servers spend, and bills the server for the waking; times are then exact to the nap only.

    Usage::

        with Load(port, marks) as load:
            load.add(exchanges)
            tally = load.run()
    """

    def __init__(self, port: int, marks: Marks, *, keep_alive: bool = False, nap_s: float = 0.0) -> None:
        self._nap_s = nap_s
        self._address = ("127.0.0.1", port)
        self._marks = marks
        self._keep_alive = keep_alive
        self._epoll = select.epoll()
        self._open: dict[int, Client] = {}
        self._waiting: list[tuple[float, int, Client]] = []
        self.tally = Tally()

    def __enter__(self) -> Self:
        gc.collect()
        gc.disable()
        return self

    def __exit__(self, *_: object) -> None:
        for client in list(self._open.values()):
            self._disconnect(client)
        self._epoll.close()
        gc.enable()

    def add(self, exchanges: Iterable[Exchange], *, start_s: float = 0.0) -> None:
        """Add a client that begins `start_s` after the run does."""
        client = Client(iter(exchanges), Exchange(()), Response(self._marks))
        heapq.heappush(self._waiting, (start_s, len(self._waiting), client))

    def run(self, *, give_up_s: float = 120.0) -> Tally:
        """Drive until every client is done, or `give_up_s` has passed: then clients stay connected."""
        begun, cpu = time.perf_counter(), time.process_time()
        give_up = begun + give_up_s
        while (self._open or self._waiting) and time.perf_counter() < give_up:
            self._start_due(begun)
            for fd, _ in self._epoll.poll(self._patience_s(begun, give_up)):
                self._receive(self._open[fd])
            if self._nap_s:
                time.sleep(self._nap_s)
        self.tally.wall_s += time.perf_counter() - begun
        self.tally.client_cpu_s += time.process_time() - cpu
        return self.tally

    @property
    def unfinished(self) -> int:
        """Number of clients that are not done."""
        return len(self._open) + len(self._waiting)

    def _patience_s(self, begun: float, give_up: float) -> float:
        due = min(give_up, begun + self._waiting[0][0]) if self._waiting else give_up
        return max(0.0, due - time.perf_counter())

    def _start_due(self, begun: float) -> None:
        while self._waiting and begun + self._waiting[0][0] <= time.perf_counter():
            self._begin_next(heapq.heappop(self._waiting)[2])

    def _begin_next(self, client: Client) -> None:
        exchange = next(client.exchanges, None)
        if exchange is None:
            self._disconnect(client)
            return
        client.exchange, client.step, client.first_token_at, client.spoken_s = exchange, 0, None, None
        client.begun = time.perf_counter()
        self._send(client)

    def _send(self, client: Client) -> None:
        try:
            if client.sock is None:
                self._connect(client)
            assert client.sock is not None
            client.response = Response(self._marks)
            client.sock.settimeout(SEND_TIMEOUT_S)
            client.sock.sendall(client.exchange.requests[client.step])
            client.sock.setblocking(False)
        except OSError as error:
            self.tally.failures.append(f"cannot ask: {error}")
            self._disconnect(client)

    def _connect(self, client: Client) -> None:
        client.sock = socket.create_connection(self._address, timeout=SEND_TIMEOUT_S)
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._open[client.sock.fileno()] = client
        self._epoll.register(client.sock.fileno(), select.EPOLLIN)

    def _disconnect(self, client: Client) -> None:
        if client.sock is not None:
            del self._open[client.sock.fileno()]
            client.sock.close()  # which takes it out of the epoll
            client.sock = None

    def _receive(self, client: Client) -> None:
        assert client.sock is not None
        try:
            is_whole = client.response.feed(client.sock.recv(RECEIVE_BYTES))
        except (BadResponse, OSError) as error:
            self.tally.failures.append(str(error))
            self._disconnect(client)
            self._begin_next(client)
            return
        if client.response.tokens and client.is_at_last_step:
            self._note_tokens(client)
        if is_whole:
            self._finish_step(client)

    def _note_tokens(self, client: Client) -> None:
        """Note when the first token came, and when the last one did."""
        if client.first_token_at is None:
            client.first_token_at = time.perf_counter()
            self.tally.first_token_s.append(client.first_token_at - client.begun)
        if client.response.tokens == client.exchange.tokens and client.spoken_s is None:
            client.spoken_s = time.perf_counter() - client.first_token_at

    def _finish_step(self, client: Client) -> None:
        if not client.is_at_last_step:
            client.step += 1
            self._send(client)
            return
        duration_s = time.perf_counter() - client.begun
        self.tally.count(client.response, client.exchange.tokens, duration_s, client.spoken_s)
        if not self._keep_alive:
            self._disconnect(client)
        self._begin_next(client)
