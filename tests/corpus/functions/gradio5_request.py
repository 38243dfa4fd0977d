import gradio as gr


def predict(message, history, request: gr.Request):
    return f"{message} {type(request.session_hash).__name__} {request.client.host}"


demo = gr.ChatInterface(predict, type="messages")
