"""Every plug-in contract and the values plug-ins exchange: formats, wire, store, files. Knows no implementation."""
