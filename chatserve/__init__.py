"""Your chat function, as a durable HTTP service: one file, one command, every client, nothing lost."""

from chatserve.app import ChatServer
from chatserve.chat_function import ChatContext
from chatserve.core.errors import ChatError
from chatserve.core.types import ChatMessage, File

__all__ = ["ChatContext", "ChatError", "ChatMessage", "ChatServer", "File"]
