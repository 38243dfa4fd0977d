"""The command line. Knows the application and the server that runs it; no other package imports it."""

from chatserve.cli.commands import main

__all__ = ["main"]
