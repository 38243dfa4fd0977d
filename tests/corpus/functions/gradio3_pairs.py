import gradio as gr


def yes_or_no(message, history):
    return "Yes" if len(history) % 2 == 0 else "No"


demo = gr.ChatInterface(yes_or_no)

demo.launch()
