import gradio as gr


def respond(text, mode):
    return f"{mode}({text})"


def talk(message, history):
    return respond(message, "helped")


demo = gr.ChatInterface(fn=talk, type="messages", concurrency_limit=2)
demo.queue(max_size=8).launch()
