def predict(message, history):
    return {"path": "/etc/hostname"}
