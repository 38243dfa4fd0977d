def predict(message, history):
    assert message
