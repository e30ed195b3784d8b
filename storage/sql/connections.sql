-- Statements of storage/connections.py.

-- own_backend --
SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid();

-- server_start_marked --
SELECT 1 FROM server_start WHERE postmaster_started_at = pg_postmaster_start_time();

-- commit_synchronously --
SET LOCAL synchronous_commit = on;

-- mark_server_start --
-- Two hosts may get here at once: the second waits for the first one's commit, standby included.
INSERT INTO server_start (postmaster_started_at, marked_by)
VALUES (pg_postmaster_start_time(), $1)
ON CONFLICT (postmaster_started_at) DO NOTHING;
