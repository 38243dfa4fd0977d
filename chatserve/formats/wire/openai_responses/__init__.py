"""OpenAI's Responses and Conversations, which are also Open Responses."""

from chatserve.formats.wire.openai_responses.endpoints import OpenAIResponses

__all__ = ["OpenAIResponses"]
