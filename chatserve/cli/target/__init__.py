"""Targets: `app.py`, `app.py:name`, `pkg.module:name`, loaded as an application. Knows nothing of serving it.

A `ChatServer` in the file is served. A file without one is read: its `gr.ChatInterface`, if it makes one, else its chat
function.
"""

from chatserve.cli.target.loading import OPTIONS as CHAT_OPTIONS
from chatserve.cli.target.loading import Target, load_target
from chatserve.cli.target.place import Source, TargetError, locate

__all__ = ["CHAT_OPTIONS", "Source", "Target", "TargetError", "load_target", "locate"]
