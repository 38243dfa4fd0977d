"""Tool steps: messages with a title in their metadata that are first pending and then done, one nested in another.

The function yields the same list again and again and changes the messages in it. Every yield is copied, so clients see
each state.

Run it:   chatserve run examples/tool_use.py
Ask it:   curl -N localhost:8000/chat --json '{"message": "weather in Oslo", "stream": true}'
"""

import time

from chatserve import ChatMessage, ChatServer

app = ChatServer(title="Tool use")


@app.chat
def predict(message, history):
    started = time.monotonic()
    plan = ChatMessage(metadata={"title": "Answering", "id": "plan", "status": "pending"})
    steps = [plan]
    yield steps

    for thought in ("Which tool knows this?", " The weather service does."):
        time.sleep(0.1)
        plan.content += thought
        yield steps

    call = ChatMessage(
        f"forecast({message!r})",
        metadata={"title": "Weather service", "id": "call", "parent_id": "plan", "status": "pending"},
    )
    steps.append(call)
    yield steps

    time.sleep(0.1)
    call.content += " = 21 degrees"
    call.metadata["status"] = "done"
    yield steps

    plan.metadata |= {"status": "done", "duration": round(time.monotonic() - started, 1)}
    steps.append(ChatMessage("It will be sunny, 21 degrees."))
    yield steps
