"""Load and measurement over HTTP alone, knowing nothing of the system but its API; and large books to measure on."""
