def predict(message, history):
    said = ""
    for letter in message:
        said += letter
        yield said
