def predict(message, history):
    if message == "two":
        yield "only here"
