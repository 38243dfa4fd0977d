"""Routes of sessions: creation and deletion, history, transfer, feedback."""
