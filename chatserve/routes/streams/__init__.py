"""The way out: readers' frames on sockets. Starts no turn."""
