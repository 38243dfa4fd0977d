"""Streaming: a generator yields the answer so far, and clients receive each new piece of it at once.

Run it:   chatserve run examples/slow_echo.py
Ask it:   curl -N localhost:8000/chat --json '{"message": "Hello there"}' -H 'Accept: text/plain'
"""

import time

from chatserve import ChatServer

app = ChatServer(title="Slow echo")


@app.chat
def predict(message, history):
    for end in range(1, len(message) + 1):
        time.sleep(0.03)
        yield "You typed: " + message[:end]
