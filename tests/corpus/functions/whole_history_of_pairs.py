def respond(message, chat_history):
    chat_history.append((message, f"{len(chat_history)} before {message}"))
    return chat_history
