"""Tests of chat functions and applications, in the test's own process, with streams that truly stream.

    with ChatClient(app) as client:
        session = client.session()
        turn = session.start("hi")
        turn.wait_for("You")
        turn.stop()
        assert turn.status == "stopped"

The application runs in an event loop of its own thread and is spoken to as a server would, without sockets. Every
wait is bounded.
"""

from chatserve.testing.client import ChatClient, ChatSession, RequestRefused
from chatserve.testing.exchange import Response
from chatserve.testing.turn import ChatTurn, StreamEvent

__all__ = ["ChatClient", "ChatSession", "ChatTurn", "RequestRefused", "Response", "StreamEvent"]
