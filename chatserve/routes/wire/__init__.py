"""Endpoints of wire formats: call handlers, perform their steps, send their replies. Knows no format by name."""
