"""Clients for tests of chat functions and applications: in the test's own process, with streams that stream.

    with ChatClient(app) as client:
        session = client.session()
        turn = session.start("hi")
        turn.wait_for("You")
        turn.stop()
        assert turn.status == "stopped"

The application runs in an event loop in a thread of its own. The client talks to it as a server does, without sockets.
Every wait has a limit.
"""

from chatserve.testing.client import ChatClient, ChatSession, RequestRefused
from chatserve.testing.exchange import Response
from chatserve.testing.turn import ChatTurn, StreamEvent

__all__ = ["ChatClient", "ChatSession", "ChatTurn", "RequestRefused", "Response", "StreamEvent"]
