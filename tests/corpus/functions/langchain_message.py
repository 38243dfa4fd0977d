from langchain_core.messages import AIMessage, HumanMessage


def predict(message, history):
    sent = []
    for each in history:
        kind = HumanMessage if each["role"] == "user" else AIMessage
        sent.append(kind(content=each["content"]))
    sent.append(HumanMessage(content=message))
    return AIMessage(content=f"{len(sent)}: {sent[-1].content}").content
