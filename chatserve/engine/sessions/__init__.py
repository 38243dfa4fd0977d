"""This process's state of sessions: rooms, histories, attachments, the janitor."""
