def predict(message, history):
    return "".join(f"{number}{pair[0]} " for number, pair in enumerate(history)) + message
