"""The compiled form: our packages once more, with the hot modules as machine code (docs/ARCHITECTURE.md)."""
