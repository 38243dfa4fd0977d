"""Functions that return the whole history with their answer appended, as event listeners of Gradio Blocks do.

Two chats in one server: `messages` appends dicts and streams them, `tuples` appends one pair and returns it.

Run it:   chatserve run examples/blocks_history.py
Ask it:   curl localhost:8000/chat/messages --json '{"message": "How are you?"}' -H 'Accept: text/plain'
          curl localhost:8000/chat/tuples --json '{"message": "How are you?"}' -H 'Accept: text/plain'
"""

import time

from chatserve import ChatServer

app = ChatServer(title="Whole histories")


@app.chat(name="messages")
def respond(message, history):
    history.append({"role": "user", "content": message})
    history.append({"role": "assistant", "content": ""})
    for word in f"Answer {len(history) // 2} to {message!r}".split():
        time.sleep(0.03)
        history[-1]["content"] += f"{word} "
        yield history


@app.chat(name="tuples", history="tuples")
def respond_in_pairs(message, history):
    history.append([message, f"Answer {len(history) + 1} to {message!r}"])
    return history
