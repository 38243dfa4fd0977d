"""Files written for Gradio, as they are found in the field, for tests to serve with and without it."""

from typing import Final

FILES: Final[dict[str, str]] = {
    "plain": """
import gradio as gr
def predict(message, history):
    return message
gr.ChatInterface(predict).launch()
""",
    "blocks": """
import gradio as gr
with gr.Blocks(theme=gr.themes.Soft(primary_hue=gr.themes.colors.blue), css=".x {}") as demo:
    with gr.Row():
        with gr.Column(scale=1):
            gr.Markdown("# Hello")
            clear = gr.Button("Clear", variant="primary")
        with gr.Tab("Chat"):
            speed = gr.Slider(1, 10, value=3, label="Speed", render=False)
            def answer(message, history, speed):
                return f"{message} {speed}"
            chat = gr.ChatInterface(answer, additional_inputs=[speed])
    with gr.Accordion("More", open=False):
        gr.Markdown("Less")
    clear.click(lambda: None, None, None, queue=False).then(lambda: None)
    speed.change(fn=print, inputs=[speed])
demo.queue(default_concurrency_limit=7).launch(server_name="0.0.0.0", auth=("a", "b"))
""",
    "several": """
import gradio as gr
def yes(message, history):
    return "yes"
def no(message, history):
    return "no"
one = gr.ChatInterface(yes, title="Yes")
two = gr.ChatInterface(fn=no)
three = gr.ChatInterface(yes, api_name="again")
demo = gr.TabbedInterface([one, two, three], ["Yes", "No", "Again"])
demo.launch()
""",
    "guarded": """
import gradio as gr
def predict(message, history):
    return message
if __name__ == "__main__":
    demo = gr.ChatInterface(predict, title="Guarded")
    demo.launch()
""",
    "unread": """
import gradio as gr
def predict(message, history):
    return message
def build():
    return gr.ChatInterface(predict, title="Never")
""",
    "page": """
import gradio as gr
def helper(a, b):
    return a
def respond(message, chat_history):
    return message
with gr.Blocks() as demo:
    chatbot = gr.Chatbot()
    box = gr.Textbox()
    box.submit(respond, [box, chatbot], [box, chatbot])
demo.launch()
""",
    "wired page": """
import gradio as gr
def respond(message, chat_history, tone):
    chat_history.append((message, f"{tone} {len(chat_history)}"))
    yield "", chat_history
with gr.Blocks() as demo:
    chatbot = gr.Chatbot()
    box = gr.Textbox()
    tone = gr.Radio(["dry", "warm"], value="warm", label="Tone")
    gr.ClearButton([box, chatbot])
    box.submit(fn=respond, inputs=[box, chatbot, tone], outputs=[box, chatbot])
demo.launch()
""",
    "theme": """
from __future__ import annotations
import gradio as gr
from gradio.themes.base import Base
from gradio.themes.utils import colors, fonts, sizes
from gradio.components.chatbot import ChatMessage
from gradio import ChatInterface
class Sea(Base):
    def __init__(self):
        font = (fonts.GoogleFont("Inter"), "sans-serif")
        super().__init__(primary_hue=colors.emerald, font=font, text_size=sizes.text_lg)
        super().set(body_background_fill="*primary_100")
def predict(message: str, history: list[dict[str, str]], request: gr.Request, progress=gr.Progress()) -> ChatMessage:
    progress(0.5)
    assert request.headers is not None and request.client.host is not None
    gr.Info("thinking")
    return ChatMessage(role="assistant", content=message + "!")
sea = Sea()
demo = ChatInterface(predict, title="Sea")
app, local, share = demo.launch(prevent_thread_lock=True)
""",
    "injected": """
import gradio as gr
def predict(request: gr.Request, message, history, tone, progress=gr.Progress(), user: gr.OAuthProfile | None = None):
    for _ in progress.tqdm(range(2)): ...
    if message == "stop":
        raise gr.Error("No more of " + tone)
    return f"{tone} {message} {user} {bool(request.session_hash)}"
demo = gr.ChatInterface(predict, additional_inputs=[gr.Textbox("dry", label="Tone")])
""",
    "state": """
import gradio as gr
def predict(message, history, seen, words):
    seen.append(message)
    return f"{len(seen)} {message}", seen, {"last": message}, gr.skip()
with gr.Blocks() as demo:
    seen = gr.State([])
    shown = gr.JSON(label="Shown last")
    total = gr.State(0)
    gr.ChatInterface(predict, additional_inputs=[seen, gr.Number(3, precision=0, label="Words")],
                     additional_outputs=[seen, shown, total])
""",
    "object state": """
import gradio as gr
class Memory:
    def __init__(self):
        self.words = []
def predict(message, history, memory):
    memory.words.append(message)
    yield ", ".join(memory.words)
demo = gr.ChatInterface(predict, additional_inputs=gr.State(Memory()))
""",
    "variable inputs": """
import gradio as gr
async def predict(message, history, *more):
    yield f"{message} {more}"
more = ["text", gr.Checkbox(True, label="Loud?"), gr.Radio(["a", "b"], value="b")]
demo = gr.ChatInterface(predict, additional_inputs=more)
""",
    "defaults": """
import gradio as gr
from openai_like import Client
client = Client()
def predict(message, history, temperature, client=client, key="secret"):
    return f"{message} {temperature} {key}"
demo = gr.ChatInterface(predict, additional_inputs=[gr.Number(0.5, label="Temperature")])
""",
    "decorated": """
import gradio as gr
with gr.Blocks() as demo:
    count = gr.Number(0)
    @gr.render(inputs=count)
    def show(n):
        gr.Markdown(str(n))
    @demo.load(outputs=count)
    def begin():
        return 1
    @count.change(inputs=count)
    def changed(n): ...
    @gr.on(triggers=[count.change], inputs=count)
    def watched(n): ...
    examples = gr.Examples([["a"]], [count])
    gr.HTML("<b></b>")
    chat = gr.ChatInterface(lambda message, history: message.upper())
assert callable(show) and show.__name__ == "show" and begin() == 1
io = gr.mount_gradio_app({"app": 1}, demo, path="/chat") if False else demo
io.launch()
""",
}

_SIGNATURES: Final[dict[str, str]] = {
    "3": """
        fn chatbot textbox additional_inputs additional_inputs_accordion_name examples cache_examples title
        description theme css analytics_enabled submit_btn stop_btn retry_btn undo_btn clear_btn autofocus
    """,
    "4": """
        fn multimodal type chatbot textbox additional_inputs additional_inputs_accordion_name
        additional_inputs_accordion examples cache_examples examples_per_page title description theme css js head
        analytics_enabled submit_btn stop_btn retry_btn undo_btn clear_btn autofocus concurrency_limit fill_height
        delete_cache show_progress fill_width
    """,
    "5": """
        fn multimodal type chatbot textbox additional_inputs additional_inputs_accordion additional_outputs editable
        examples example_labels example_icons run_examples_on_click cache_examples cache_mode title description
        theme flagging_mode flagging_options flagging_dir css css_paths js head head_paths analytics_enabled
        autofocus autoscroll submit_btn stop_btn concurrency_limit delete_cache show_progress fill_height fill_width
        api_name api_description show_api save_history validator
    """,
    "6": """
        fn multimodal chatbot textbox additional_inputs additional_inputs_accordion additional_outputs editable
        examples examples_label example_labels example_icons run_examples_on_click cache_examples cache_mode title
        description flagging_mode flagging_options flagging_dir analytics_enabled autofocus autoscroll submit_btn
        stop_btn concurrency_limit delete_cache show_progress fill_height fill_width api_name api_description
        api_visibility save_history validator
    """,
}
SIGNATURES: Final = {release: names.split() for release, names in _SIGNATURES.items()}
"""The parameters of ChatInterface in Gradio 3.50.2, 4.44.1, 5.49.1 and 6.31.0."""
