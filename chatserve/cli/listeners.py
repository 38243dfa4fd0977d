"""Listening sockets. Knows nothing of what listens on them.

Accepted connections inherit the options that are set here. With them the server notices within half a minute that a
peer has vanished, and a peer that reads nothing takes no more than `UNSENT_BYTES` of kernel memory. They do not slow
fast peers.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from typing import Final

from chatserve.core.errors import ConfigurationError

BACKLOG: Final = 2048
UNSENT_BYTES: Final = 64 * 1024
KEEPALIVE_IDLE_S: Final = 10
KEEPALIVE_INTERVAL_S: Final = 5
KEEPALIVE_PROBES: Final = 3
UNACKNOWLEDGED_MS: Final = 30_000

_TCP_OPTIONS: Final = {
    "TCP_KEEPIDLE": KEEPALIVE_IDLE_S,
    "TCP_KEEPINTVL": KEEPALIVE_INTERVAL_S,
    "TCP_KEEPCNT": KEEPALIVE_PROBES,
    "TCP_USER_TIMEOUT": UNACKNOWLEDGED_MS,
    "TCP_NOTSENT_LOWAT": UNSENT_BYTES,
}
_NO_SUCH_FAMILY: Final = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def listen(host: str, port: int) -> list[socket.socket]:
    """Listen on every address of `host`; port 0 takes any free port, the same for all.

    Raises:
        ConfigurationError: the port is in use or not allowed, or the host is not an address of this machine.
    """
    listeners: list[socket.socket] = []
    for family, (name, _, *scope) in _addresses(host, port):
        try:
            listeners.append(_listen(family, (name, port, *scope)))
        except OSError as error:
            if listeners and error.errno in _NO_SUCH_FAMILY:
                continue
            close(listeners)
            raise ConfigurationError(_refusal(host, port, error)) from None
        port = port_of(listeners)
    return listeners


def close(listeners: Sequence[socket.socket]) -> None:
    """Stop listening."""
    for listener in listeners:
        listener.close()


def port_of(listeners: Sequence[socket.socket]) -> int:
    """Return the port they listen on."""
    port: int = listeners[0].getsockname()[1]
    return port


def _addresses(host: str, port: int) -> list[tuple[socket.AddressFamily, tuple[object, ...]]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ConfigurationError(f"host {host!r} cannot be resolved ({error.strerror}); try 127.0.0.1") from None
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))


def _listen(family: socket.AddressFamily, address: tuple[object, ...]) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        for name, value in _TCP_OPTIONS.items():
            if hasattr(socket, name):
                listener.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        listener.bind(address)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def _refusal(host: str, port: int, error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return (
                f"port {port} of {host} is in use; stop the program that listens there, or use another port "
                "(--port 0 takes any free one)"
            )
        case errno.EACCES:
            return f"this user may not listen on port {port} of {host}; use a port above 1023"
        case errno.EADDRNOTAVAIL:
            return f"host {host!r} is not an address of this machine; try 127.0.0.1, or 0.0.0.0 for all"
        case _:
            return f"cannot listen on {host} port {port}: {error.strerror}"
