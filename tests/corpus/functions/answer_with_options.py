def predict(message, history):
    return {
        "role": "assistant",
        "content": f"{message}?",
        "options": [{"value": "yes", "label": "Yes!"}, {"value": "no"}],
    }
