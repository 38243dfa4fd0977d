from openai.types.chat import ChatCompletionChunk


def stream(words):
    for word in words:
        choice = {"index": 0, "delta": {"content": word}, "finish_reason": None}
        fields = {"id": "c", "created": 1, "model": "m", "object": "chat.completion.chunk", "choices": [choice]}
        yield ChatCompletionChunk.model_validate(fields)


def predict(message, history):
    partial = ""
    for chunk in stream(["well, ", message]):
        if chunk.choices[0].delta.content is not None:
            partial += chunk.choices[0].delta.content
            yield partial
