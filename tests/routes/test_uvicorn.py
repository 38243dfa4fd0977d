"""The parts of uvicorn that it does not document and chatserve relies on are as they were.

When one of these tests fails after an update, read what changed, bring `routes/streams/outlets` and `cli/server` in
line, and raise the bound of uvicorn in `pyproject.toml`. The setting `direct_writes` turns the first of them off.
"""

import ast
import asyncio
import inspect
import logging
import signal
import textwrap
import tomllib
from importlib.metadata import version
from typing import Any

import pytest
import uvicorn
from packaging.requirements import Requirement
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.server import HANDLED_SIGNALS, ServerState

from tests.support.server import ROOT

httptools_impl = pytest.importorskip("uvicorn.protocols.http.httptools_impl")

HEAD = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]}


class Transport:
    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.is_closed = False

    def write(self, piece: bytes) -> None:
        self.written.append(piece)

    def close(self) -> None:
        self.is_closed = True


def cycle_on(transport: Transport, *, keep_alive: bool = True) -> Any:
    """Return uvicorn's state of one response, made as its protocol makes it."""
    return httptools_impl.RequestResponseCycle(
        scope={"type": "http", "method": "POST", "http_version": "1.1"},
        transport=transport,
        flow=FlowControl(transport),  # type: ignore[arg-type] # as much of a transport as is written to
        logger=logging.getLogger("uvicorn.error"),
        access_logger=logging.getLogger("uvicorn.access"),
        access_log=False,
        default_headers=[],
        message_event=asyncio.Event(),
        expect_100_continue=False,
        keep_alive=keep_alive,
        on_response=lambda: None,
    )


def send_at_once(cycle: Any, message: Any) -> None:
    """Send a message; a `send` that waits is an error."""
    with pytest.raises(StopIteration):
        cycle.send(message).send(None)


def test_uvicorn_has_an_upper_bound_and_this_version_is_below_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    (uvicorn_bound,) = (each for each in map(Requirement, project["dependencies"]) if each.name == "uvicorn")
    assert {each.operator for each in uvicorn_bound.specifier} == {">=", "<"}
    assert version("uvicorn") in uvicorn_bound.specifier


# --- what routes/streams writes past -----------------------------------------------------------------------------


def test_state_of_a_response_has_the_attributes_that_are_read() -> None:
    transport = Transport()
    cycle = cycle_on(transport)
    assert type(cycle).__module__ == "uvicorn.protocols.http.httptools_impl"
    assert vars(cycle).keys() == {
        *("scope", "transport", "flow", "logger", "access_logger", "access_log", "default_headers", "message_event"),
        *("on_response", "disconnected", "keep_alive", "waiting_for_100_continue", "body", "more_body"),
        *("response_started", "response_complete", "chunked_encoding", "expected_content_length"),
    }
    assert (cycle.disconnected, cycle.response_started, cycle.chunked_encoding) == (False, False, None)
    assert cycle.transport is transport
    assert cycle.flow.write_paused is False
    assert cycle.send.__self__ is cycle


def test_flow_control_says_whether_a_client_is_behind() -> None:
    flow = FlowControl(Transport())  # type: ignore[arg-type]
    flow.pause_writing()
    assert flow.write_paused is True
    flow.resume_writing()
    assert flow.write_paused is False


def test_sending_waits_for_a_client_that_is_behind_and_for_nothing_else() -> None:
    source = ast.parse(textwrap.dedent(inspect.getsource(httptools_impl.RequestResponseCycle.send)))
    waits = [ast.unparse(node) for node in ast.walk(source) if isinstance(node, ast.Await)]
    assert waits == ["await self.flow.drain()"]
    first = ast.unparse(source.body[0].body[0])  # type: ignore[attr-defined]
    assert first.startswith("if self.flow.write_paused and (not self.disconnected):")


def test_sending_reads_and_writes_these_attributes_alone() -> None:
    source = ast.parse(textwrap.dedent(inspect.getsource(httptools_impl.RequestResponseCycle.send)))
    own = [
        node
        for node in ast.walk(source)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"
    ]
    assert {node.attr for node in own if isinstance(node.ctx, ast.Store)} == {
        *("chunked_encoding", "expected_content_length", "keep_alive"),
        *("response_complete", "response_started", "waiting_for_100_continue"),
    }
    assert {node.attr for node in own if isinstance(node.ctx, ast.Load)} == {
        *("access_log", "access_logger", "chunked_encoding", "default_headers", "disconnected", "flow", "keep_alive"),
        *("message_event", "on_response", "response_complete", "response_started", "scope", "transport"),
        "expected_content_length",
    }


def test_pieces_are_written_to_the_transport_as_chunks_at_once() -> None:
    transport = Transport()
    cycle = cycle_on(transport)
    send_at_once(cycle, HEAD)
    assert transport.written == [
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    ]
    assert (cycle.response_started, cycle.chunked_encoding) == (True, True)
    for piece, more in ((b"x" * 26, True), (b"", True), (b"end", False)):
        send_at_once(cycle, {"type": "http.response.body", "body": piece, "more_body": more})
    assert transport.written[1:] == [b"1a\r\n" + b"x" * 26 + b"\r\n", b"", b"3\r\nend\r\n0\r\n\r\n"]
    assert not transport.is_closed


def test_transport_is_closed_behind_a_response_whose_client_wants_no_other() -> None:
    transport = Transport()
    cycle = cycle_on(transport, keep_alive=False)
    send_at_once(cycle, HEAD)
    send_at_once(cycle, {"type": "http.response.body", "body": b"", "more_body": False})
    assert transport.is_closed


# --- what cli/server overrides -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "parameters", "is_async"),
    [
        ("startup", ["self", "sockets"], True),
        ("main_loop", ["self"], True),
        ("shutdown", ["self", "sockets"], True),
        ("handle_exit", ["self", "sig", "frame"], False),
        ("capture_signals", ["self"], False),
    ],
)
def test_server_has_the_methods_that_are_overridden(name: str, parameters: list[str], is_async: bool) -> None:
    method = getattr(uvicorn.Server, name)
    if name != "handle_exit":  # sse-starlette has put a function of its own there
        assert list(inspect.signature(method).parameters) == parameters
    assert inspect.iscoroutinefunction(method) is is_async


def test_server_starts_serves_and_shuts_down_in_this_order() -> None:
    source = ast.parse(textwrap.dedent(inspect.getsource(uvicorn.Server._serve)))
    calls = [ast.unparse(node.value) for node in ast.walk(source) if isinstance(node, ast.Await)]
    assert sorted(calls, key=ast.unparse(source).index) == [
        "self.startup(sockets=sockets)",
        "self.main_loop()",
        "self.shutdown(sockets=sockets)",
    ]


def test_server_keeps_its_connections_and_connections_their_transport() -> None:
    assert ServerState().connections == set()
    config = uvicorn.Config("app:app", loop="auto", http="auto")
    assert callable(config.get_loop_factory())
    protocol = inspect.getsource(httptools_impl.HttpToolsProtocol.connection_made)
    assert "self.connections.add(self)" in protocol
    assert "self.transport = transport" in protocol
    assert set(HANDLED_SIGNALS) >= {signal.SIGINT, signal.SIGTERM}
    assert "self.should_exit" in inspect.getsource(uvicorn.Server.on_tick)
