"""The faults: small classes that begin, and heal."""
