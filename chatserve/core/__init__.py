"""The basic types of chatserve: values, events, errors, ids. Imports nothing else of chatserve."""
