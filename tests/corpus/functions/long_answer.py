def predict(message, history):
    text = ""
    for number in range(2000):
        text += f"{number} "
        yield text
