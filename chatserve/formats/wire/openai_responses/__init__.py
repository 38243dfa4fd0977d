"""OpenAI's Responses and Conversations, which also implement Open Responses."""

from chatserve.formats.wire.openai_responses.endpoints import OpenAIResponses

__all__ = ["OpenAIResponses"]
