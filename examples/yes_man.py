"""A chat with a title, a description and examples, whose answers are made once, when the server starts.

Run it:   chatserve run examples/yes_man.py
Ask it:   curl localhost:8000/chat --json '{"message": "Am I right?"}' -H 'Accept: text/plain'
          curl localhost:8000/chat --json '{"example": 0}' -H 'Accept: text/plain'     (answered from the cache)
"""

from chatserve import ChatServer

app = ChatServer()


@app.chat(
    title="Yes man",
    description="Has one answer to every question.",
    examples=["Is the sky blue?", "Should I take an umbrella?", "Hello"],
    cache_examples="eager",
)
def predict(message, history):
    return "Yes" if message.endswith("?") else "Ask me anything!"
