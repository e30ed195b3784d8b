-- The runner's own statements (storage/migrations.py).

-- take_turn --
-- A session lock, so that it outlives each migration's transaction. The number is "tally" in ASCII.
SELECT pg_advisory_lock(499850701945);

-- end_turn --
SELECT pg_advisory_unlock(499850701945);

-- create_schema_migration --
CREATE TABLE IF NOT EXISTS schema_migration (
    name       text        PRIMARY KEY,
    checksum   bytea       NOT NULL CHECK (length(checksum) = 32),
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- applied_migrations --
SELECT name, checksum FROM schema_migration ORDER BY name;

-- record_migration --
INSERT INTO schema_migration (name, checksum) VALUES ($1, $2);
