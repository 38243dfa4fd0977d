"""What clients speak: one file per format, each a pure encoder of the log's events."""
