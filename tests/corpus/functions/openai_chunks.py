from openai.types.chat import ChatCompletionChunk


def chunk(index, **delta):
    choice = {"index": 0, "delta": delta, "finish_reason": None}
    fields = {"id": "c", "created": 1, "model": "m", "object": "chat.completion.chunk", "choices": [choice]}
    return ChatCompletionChunk.model_validate(fields)


def predict(message, history):
    yield chunk(0, role="assistant", content="")
    for word in ("you ", "said ", message):
        yield chunk(0, content=word)
