"""The smallest chat: it answers yes or no to every message.

Run it:   chatserve run examples/random_yes_no.py
Ask it:   curl localhost:8000/chat --json '{"message": "Will it rain?"}' -H 'Accept: text/plain'
"""

import random

from chatserve import ChatServer

app = ChatServer(title="Yes or no")


@app.chat
def predict(message, history):
    return random.choice(["Yes", "No"])
