"""The words chatserve is written in: values, events, errors, ids. Imports nothing else of chatserve."""
