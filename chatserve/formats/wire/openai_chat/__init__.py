"""OpenAI's Chat Completions and Models, as clients of OpenAI speak them."""

from chatserve.formats.wire.openai_chat.endpoints import OpenAIChat

__all__ = ["OpenAIChat"]
