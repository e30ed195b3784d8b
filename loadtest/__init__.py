"""Load and measurement over HTTP alone: it knows nothing of the system but its API."""
