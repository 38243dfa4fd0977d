from langchain_core.messages import AIMessage, HumanMessage


def predict(message, history):
    sent = []
    for human, ai in history:
        sent.append(HumanMessage(content=human))
        sent.append(AIMessage(content=ai))
    sent.append(HumanMessage(content=message))
    return AIMessage(content=f"{len(sent)}: {sent[-1].content}").content
