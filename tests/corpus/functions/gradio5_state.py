import gradio as gr


def predict(message, history, count):
    count += 1
    return f"{message} is number {count}", count


count = gr.State(0)
demo = gr.ChatInterface(predict, type="messages", additional_inputs=[count], additional_outputs=[count])
