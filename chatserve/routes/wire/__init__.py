"""Endpoints of wire formats: handlers called, their steps done, their replies sent. Knows no format by name."""
