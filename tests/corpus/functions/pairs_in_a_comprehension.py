def predict(message, history):
    asked = [human for human, _ in history]
    return ",".join([*asked, message])
