def predict(message, history):
    return {"content": message.title()}
