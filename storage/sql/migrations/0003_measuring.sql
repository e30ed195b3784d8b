-- What measuring needs: where a host serves its metrics, and how far the standbys are behind.
-- Only adds: code that does not know of it goes on as before.
-- migrate:up

-- NULL: this host serves none.
ALTER TABLE host_lease ADD COLUMN metrics_address text;

-- pg_stat_replication shows its details to members of pg_monitor alone, and that role also sees every
-- session's statements and all settings. This function hands out the few columns that tell the lag,
-- and nothing else, whoever asks. Its owner must be a member of pg_monitor or a superuser, as who
-- migrates is; else the details stay NULL.
CREATE FUNCTION standby_lag()
RETURNS TABLE (
    application_name text, state text, sync_state text, flush_lag_bytes bigint,
    replay_lag_bytes bigint, flush_lag_s double precision, replay_lag_s double precision
)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT standby.application_name, standby.state, standby.sync_state,
        pg_wal_lsn_diff(pg_current_wal_lsn(), standby.flush_lsn)::bigint,
        pg_wal_lsn_diff(pg_current_wal_lsn(), standby.replay_lsn)::bigint,
        extract(epoch FROM standby.flush_lag)::double precision,
        extract(epoch FROM standby.replay_lag)::double precision
    FROM pg_stat_replication AS standby
    WHERE NOT pg_is_in_recovery()
    ORDER BY standby.application_name, standby.pid
$$;

REVOKE ALL ON FUNCTION standby_lag() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION standby_lag() TO tally_reader, tally_gateway, tally_owner;
