from huggingface_hub import ChatCompletionStreamOutput


def predict(message, history):
    for word in ("hub ", message):
        choice = {"index": 0, "delta": {"role": "assistant", "content": word}}
        fields = {"choices": [choice], "created": 1, "id": "c", "model": "m", "system_fingerprint": ""}
        yield ChatCompletionStreamOutput.parse_obj_as_instance(fields)
