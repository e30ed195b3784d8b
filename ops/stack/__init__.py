"""The local stack: one daemon that starts, watches and stops every process of one home."""
