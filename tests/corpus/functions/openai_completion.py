from openai.types.chat import ChatCompletion


def predict(message, history):
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": f"whole {message}"}}
    fields = {"id": "c", "created": 1, "model": "m", "object": "chat.completion", "choices": [choice]}
    return ChatCompletion.model_validate(fields)
