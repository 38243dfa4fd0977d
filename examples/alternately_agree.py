"""History as tuples: `[user, assistant]` pairs, so `len(history)` is the number of earlier turns.

Run it:   chatserve run examples/alternately_agree.py
Ask it:   curl localhost:8000/chat --json '{"message": "tea is better"}' -H 'Accept: text/plain'
          To continue, send the "session_id" of the first answer. The second answer disagrees, the third agrees again.
"""

from chatserve import ChatServer

app = ChatServer(title="Every other time")


@app.chat(history="tuples")
def predict(message, history):
    if len(history) % 2 == 0:
        return f"Yes, I agree that {message}"
    return f"No, I doubt that {message}"
