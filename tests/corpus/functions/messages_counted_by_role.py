def predict(message, history):
    turns = len([each for each in history if each["role"] == "assistant"])
    return ("Yes, " if turns % 2 == 0 else "No, ") + message
