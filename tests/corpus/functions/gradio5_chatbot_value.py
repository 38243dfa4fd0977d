import gradio as gr


def predict(message, history):
    return f"{message} {len([each for each in history if each['role'] == 'assistant'])}"


chatbot = gr.Chatbot(value=[{"role": "assistant", "content": "Hello, ask me."}], type="messages")
demo = gr.ChatInterface(predict, type="messages", chatbot=chatbot)
