"""The load generator: one for every run over HTTP, in a process of its own."""
