import gradio as gr
from gradio import ChatMessage


def predict(message, history):
    yield ChatMessage(role="assistant", content="", metadata={"title": "Thinking", "id": 0, "status": "pending"})
    thought = ChatMessage(content="thought", metadata={"title": "Thinking", "id": 0, "status": "done"})
    nested = ChatMessage(content="tool", metadata={"title": "Tool", "id": 1, "parent_id": 0})
    yield [thought, nested, ChatMessage(content=f"So: {message}")]


demo = gr.ChatInterface(predict, type="messages", title="Thinking", save_history=True)

if __name__ == "__main__":
    demo.launch()
