"""An agent without a model: it yields each token as a partial event, then the whole answer, as ADK's own flow does."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from google.adk.agents import BaseAgent
from google.adk.agents.invocation_context import InvocationContext
from google.adk.events import Event
from google.genai import types

from benchmarks.servers.answer import stream


class TokenAgent(BaseAgent):
    """Answers what the user's message orders."""

    async def _run_async_impl(self, ctx: InvocationContext) -> AsyncGenerator[Event, None]:
        text = ""
        async for token in stream(ctx.user_content.parts[0].text):
            text += token
            yield self._event(ctx, token, partial=True)
        yield self._event(ctx, text, partial=False)

    def _event(self, ctx: InvocationContext, text: str, *, partial: bool) -> Event:
        return Event(
            author=self.name,
            invocation_id=ctx.invocation_id,
            partial=partial,
            content=types.Content(role="model", parts=[types.Part(text=text)]),
        )


root_agent = TokenAgent(name="quux")
