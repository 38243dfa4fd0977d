"""What becomes of each parameter of `gr.ChatInterface`, in every release from 3.x to 6.x; the docs repeat it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

Fate: TypeAlias = Literal["carried over", "always so", "not carried over"]

_CARRIED: Final = """
    fn type multimodal chatbot additional_inputs additional_outputs examples cache_examples cache_mode title
    description concurrency_limit api_name api_description validator flagging_mode flagging_options
"""
_ALWAYS: Final = """
    save_history editable run_examples_on_click flagging_dir
"""
_PAGE: Final = """
    textbox additional_inputs_accordion additional_inputs_accordion_name examples_label example_labels example_icons
    examples_per_page theme css css_paths js head head_paths analytics_enabled autofocus autoscroll submit_btn
    stop_btn retry_btn undo_btn clear_btn show_progress fill_height fill_width delete_cache api_visibility show_api
"""

PARAMETERS: Final[Mapping[str, Fate]] = {
    **dict.fromkeys(_CARRIED.split(), "carried over"),
    **dict.fromkeys(_ALWAYS.split(), "always so"),
    **dict.fromkeys(_PAGE.split(), "not carried over"),
}
"""Each parameter, and what becomes of it. `always so`: chatserve does it whether or not the file asks for it."""

CHATBOT: Final = frozenset({"value", "type"})
"""The parameters of `gr.Chatbot` that are carried over: its first messages, and the shape of history."""

LOOKS: Final = frozenset({"theme", "css", "css_paths", "js", "head", "head_paths"})
"""The parameters of `gr.Blocks` that are not carried over."""

QUEUE: Final = frozenset({"max_size", "default_concurrency_limit", "concurrency_count"})
"""The parameters of `queue` that are carried over."""

_EVENTS: Final = """
    click change input submit select like load unload then success failure upload clear blur focus stop edit retry
    undo example_select option_select copy tick key_up release
"""

EVENTS: Final = frozenset(_EVENTS.split())
"""Methods of components that make a page do something."""
