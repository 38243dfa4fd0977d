import gradio as gr


def predict(message, history):
    if message == "two":
        raise gr.Error("No twos here.")
    gr.Info("answering")
    return message


demo = gr.ChatInterface(predict, type="messages", flagging_mode="manual", flagging_options=["Like", "Spam"])
