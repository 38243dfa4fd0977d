import gradio as gr


def check(message):
    return gr.validate(message != "two", "No twos, please.")


def predict(message, history):
    return f"{message} {len(history)}"


demo = gr.ChatInterface(predict, validator=check)
