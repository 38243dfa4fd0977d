"""The live log and what feeds it: speech, journal."""
