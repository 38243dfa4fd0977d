"""The live log, the speech that feeds it, and the journal that stores it."""
