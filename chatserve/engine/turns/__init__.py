"""Turns: submission, life cycle, running the function, commits, admission."""
