"""A streamed LangChain model: the function yields its message chunks as they are.

Any server with the Chat Completions API will do. The client reads OPENAI_BASE_URL and OPENAI_API_KEY.

Run it:   pip install langchain-openai
          OPENAI_API_KEY=… chatserve run examples/langchain_stream.py
Ask it:   curl -N localhost:8000/chat --json '{"message": "Hello"}' -H 'Accept: text/plain'
"""

import os

from langchain_core.messages import AIMessage, HumanMessage
from langchain_openai import ChatOpenAI

from chatserve import ChatServer

app = ChatServer(title="LangChain")
model = ChatOpenAI(model=os.environ.get("OPENAI_MODEL", "gpt-4o-mini"))


@app.chat
async def predict(message, history):
    messages = [(HumanMessage if m["role"] == "user" else AIMessage)(content=m["content"]) for m in history]
    async for chunk in model.astream([*messages, HumanMessage(content=message)]):
        yield chunk
