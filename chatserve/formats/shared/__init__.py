"""What several formats of one kind are built on. Knows no format by name."""
