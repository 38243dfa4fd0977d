"""Answers: how they grow from what the function yields, and how events are folded back into messages."""
