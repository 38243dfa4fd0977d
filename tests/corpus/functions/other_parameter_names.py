def predict(question, past):
    return f"{question}?"
