from chatserve import ChatContext, ChatServer

app = ChatServer()


@app.chat(additional_outputs=("code", "state"))
def predict(message, history, ctx: ChatContext):
    count = ctx.session.state.get("count", 0) + 1
    return f"{message} {count}", f"print({count})", {"count": count}
