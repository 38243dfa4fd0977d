from langchain_core.messages import AIMessageChunk


async def predict(message, history):
    for word in ("chain ", message):
        yield AIMessageChunk(content=word)
