"""The `tally` command's subcommands, one module a subject."""
