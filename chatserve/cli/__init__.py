"""The command line. Knows the application and the server it runs in; nothing imports it."""

from chatserve.cli.commands import main

__all__ = ["main"]
