"""The developer's function: what it takes, and how it is run where it can hurt nobody.

`Chat` is one registered function with its options. `Chat.call` runs it as one async stream of batches of what it said.
Knows no HTTP, no store and no event.
"""

from chatserve.chat_function.call import Call
from chatserve.chat_function.chat import Chat
from chatserve.chat_function.context import ChatContext, Report, SessionView
from chatserve.chat_function.options import ChatOptions, read_options

__all__ = ["Call", "Chat", "ChatContext", "ChatOptions", "Report", "SessionView", "read_options"]
