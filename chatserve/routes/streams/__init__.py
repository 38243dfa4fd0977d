"""Streams: sending readers' frames to sockets. Starts no turn."""
