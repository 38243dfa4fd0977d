from chatserve import ChatContext


def predict(ctx: ChatContext, message, history):
    ctx.session.state["asked"] = ctx.session.state.get("asked", 0) + 1
    return f"{message} {ctx.session.state['asked']}"
