"""Listening sockets: what accepted connections inherit, and what is said where none can be had."""

import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from chatserve.cli.listeners import UNACKNOWLEDGED_MS, UNSENT_BYTES, close, listen, port_of
from chatserve.core.errors import ConfigurationError


@contextmanager
def connection() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Yield both ends of a connection: the server's, and that of a client who reads nothing."""
    listeners = listen("127.0.0.1", 0)
    with socket.create_connection(("127.0.0.1", port_of(listeners)), timeout=10) as client:
        listeners[0].settimeout(10)
        served, _ = listeners[0].accept()
        with served:
            yield served, client
    close(listeners)


def test_a_free_port_is_found_and_is_the_same_for_every_address():
    listeners = listen("localhost", 0)
    assert {listener.getsockname()[1] for listener in listeners} == {port_of(listeners)}
    assert port_of(listeners) > 0
    close(listeners)


def test_a_port_can_be_taken_again_right_after_its_server_has_gone():
    with connection() as (served, _):
        port = served.getsockname()[1]
        served.close()  # the side that closes first keeps the port in TIME_WAIT
    close(listen("127.0.0.1", port))


def test_peers_that_have_vanished_are_noticed():
    with connection() as (served, _):
        assert served.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) != 0
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            assert served.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == UNACKNOWLEDGED_MS


@pytest.mark.skipif(not hasattr(socket, "TCP_NOTSENT_LOWAT"), reason="this system does not bound what is unsent")
def test_a_client_that_reads_nothing_pins_little_memory():
    with connection() as (served, client):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        served.setblocking(False)
        taken = 0
        while select.select([], [served], [], 0.2)[1]:
            taken += served.send(bytes(16 * 1024))
        assert taken < 8 * UNSENT_BYTES, "the kernel's own limit is some megabytes"


@pytest.mark.parametrize(
    ("host", "said"),
    [("192.0.2.1", "is not an address of this machine"), ("no such host", "cannot be resolved")],
)
def test_hosts_that_cannot_be_listened_on_are_refused(host: str, said: str):
    with pytest.raises(ConfigurationError, match=said):
        listen(host, 0)
