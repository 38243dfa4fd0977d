def predict(message, history):
    if message == "nothing":
        yield ""
    return message[::-1]
