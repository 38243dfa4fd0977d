"""All plug-in contracts and the values they exchange: formats, wire, store, files. Knows no implementation."""
