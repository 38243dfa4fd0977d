"""Code that several formats of one kind share. Knows no format by name."""
