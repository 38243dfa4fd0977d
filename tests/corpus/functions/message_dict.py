def predict(message, history):
    return {"role": "assistant", "content": f"I heard {message}"}
