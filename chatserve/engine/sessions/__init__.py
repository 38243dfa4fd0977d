"""What this process knows of sessions: rooms, histories, attachments, the janitor."""
