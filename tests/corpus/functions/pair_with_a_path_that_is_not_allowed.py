def predict(message, history):
    return [(None, ("/etc/hostname",))]
