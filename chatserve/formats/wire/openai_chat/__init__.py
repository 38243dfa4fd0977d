"""OpenAI's Chat Completions and Models, for clients of OpenAI."""

from chatserve.formats.wire.openai_chat.endpoints import OpenAIChat

__all__ = ["OpenAIChat"]
