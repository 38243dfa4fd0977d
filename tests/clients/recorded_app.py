"""What recorded requests are sent to: a chat that tells what it was given."""

from typing import Any

from chatserve import ChatContext, ChatServer
from chatserve.codec import dumps

app = ChatServer(title="For recorded requests")


@app.chat(name="assistant")
def assistant(message: str, history: list[dict[str, Any]], ctx: ChatContext) -> str:
    """Tell the message, the roles of the history, the words to go on from, and how many tools there are."""
    told = [message, "".join(entry["role"][0] for entry in history), ctx.prefill, len(ctx.tools)]
    return dumps(told).decode()
