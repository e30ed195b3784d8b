"""A load whose every operation is written down: the clients' record that the checker joins."""
