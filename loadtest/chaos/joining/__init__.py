"""Several runs joined into one table and one picture."""
