from chatserve import ChatError


def predict(message, history):
    if message == "two":
        raise ChatError("the model is busy", code="model_busy")
    return message
