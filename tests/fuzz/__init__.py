"""Coverage-guided fuzzing of decoders: a short form in the unit tests, any length from the command line."""
