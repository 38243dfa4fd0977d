import gradio as gr


def predict(message, history):
    return gr.ChatMessage(content=f"{message}: which?", options=[{"value": "tea"}, {"value": "coffee"}])


demo = gr.ChatInterface(predict, type="messages", example_labels=None, fill_height=True)
