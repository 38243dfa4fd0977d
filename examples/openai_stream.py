"""A streamed OpenAI model: the history becomes messages for the client, and its chunks become the answer so far.

Any server with the Chat Completions API will do. The client reads OPENAI_BASE_URL and OPENAI_API_KEY.

Run it:   pip install openai
          OPENAI_API_KEY=… chatserve run examples/openai_stream.py
Ask it:   curl -N localhost:8000/chat --json '{"message": "Hello"}' -H 'Accept: text/plain'
"""

import os

from openai import OpenAI

from chatserve import ChatServer

app = ChatServer(title="OpenAI")
client = OpenAI()


@app.chat(history="tuples")
def predict(message, history):
    messages = []
    for user, assistant in history:
        messages.append({"role": "user", "content": user})
        messages.append({"role": "assistant", "content": assistant})
    messages.append({"role": "user", "content": message})

    model = os.environ.get("OPENAI_MODEL", "gpt-4o-mini")
    answer = ""
    for chunk in client.chat.completions.create(model=model, messages=messages, stream=True):
        if chunk.choices and chunk.choices[0].delta.content:
            answer += chunk.choices[0].delta.content
            yield answer
