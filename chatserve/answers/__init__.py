"""Answers while they grow and when they are read back. Knows no loop, no store, no wire format."""
