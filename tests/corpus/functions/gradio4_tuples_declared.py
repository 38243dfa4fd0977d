import gradio as gr


def predict(message, history):
    return " ".join([answer for _, answer in history][-1:] + [message])  # noqa: RUF005


gr.ChatInterface(predict, type="tuples").launch()
