"""The local stack's servers: real Postgres and Valkey, replicated, on loopback, from pip wheels."""
