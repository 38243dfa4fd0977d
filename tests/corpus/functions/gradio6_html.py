import gradio as gr


def predict(message, history):
    return gr.HTML(f"<b>{message}</b>")


demo = gr.ChatInterface(predict)
