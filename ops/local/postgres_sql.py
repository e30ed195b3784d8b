"""What the local stack says to its Postgres servers as their superuser, by psql."""

from __future__ import annotations

# Run at each start, so that an interrupted first start is completed by the second. No commit may
# wait for the standby here: it doesn't exist yet. The password stays out of the server's log.
BOOTSTRAP_SQL = """
SET synchronous_commit = local;
SET log_min_duration_statement = -1;
SET log_min_error_statement = panic;
SELECT 'CREATE ROLE {role} LOGIN REPLICATION PASSWORD ''{password}'''
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') \\gexec
SELECT 'CREATE DATABASE {database}'
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = '{database}') \\gexec
SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots
 WHERE slot_name = '{slot}' AND wal_status = 'lost';
SELECT pg_create_physical_replication_slot('{slot}', true)
 WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = '{slot}');
"""

SLOT_IS_LOST_SQL = """
SELECT count(*) FROM pg_replication_slots
 WHERE slot_name = '{slot}' AND wal_status = 'lost';
"""

DROP_IDLE_SLOT_SQL = """
SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots
 WHERE slot_name = '{slot}' AND NOT active;
"""

STANDBY_STATE_SQL = """
SELECT state, sync_state, coalesce(pg_wal_lsn_diff(pg_current_wal_flush_lsn(), flush_lsn), 0)
  FROM pg_stat_replication WHERE application_name = '{slot}';
"""

# What is on this standby's own disk, whatever it has replayed of it.
STANDBY_POSITION_SQL = """
SELECT pg_is_in_recovery(),
       greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn(), '0/0') - '0/0'::pg_lsn;
"""

PROMOTE_SQL = "SELECT pg_promote(true, {timeout_s});"

RELOAD_SQL = "SELECT pg_reload_conf();"

# These two must not wait for a standby: they are what is done while there is none, and what they say
# is on the disk of the stack's own record already.
AUDIT_SQL = """
SET synchronous_commit = local;
WITH given (actor, action, subject, detail) AS (
    VALUES ({actor}, {action}, {subject}, {detail}::jsonb)
), added AS (
    INSERT INTO audit (actor, action, subject, detail)
    SELECT * FROM given
    WHERE NOT EXISTS (
        SELECT FROM audit
        WHERE audit.action = given.action AND audit.subject = given.subject
            AND audit.detail = given.detail
    )
    RETURNING 1
)
SELECT count(*) FROM added;
"""

# The gateways look at this row; its time is this server's, not theirs.
ONE_COPY_SQL = """
SET synchronous_commit = local;
INSERT INTO intent (key, value)
VALUES ('one_copy:redis', to_jsonb(clock_timestamp() + make_interval(secs => {for_s})))
ON CONFLICT (key) DO UPDATE SET value = excluded.value, updated_at = now();
"""


def quoted(text: str) -> str:
    """A literal. The servers run with standard_conforming_strings, as they do by default."""
    return "'" + text.replace("\0", "").replace("'", "''") + "'"
