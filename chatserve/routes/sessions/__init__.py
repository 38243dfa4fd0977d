"""Routes of sessions: themselves, their history, transfer, feedback."""
