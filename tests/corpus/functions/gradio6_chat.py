import gradio as gr


def predict(message, history):
    said = [part["text"] for entry in history if entry["role"] == "user" for part in entry["content"]]
    return " ".join([*said, message])


demo = gr.ChatInterface(predict, api_name="talk", api_visibility="public", editable=True)

if __name__ == "__main__":
    demo.launch(theme=gr.themes.Soft(), css="h1 { color: red }")
