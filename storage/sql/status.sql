-- What the command line's status shows, under the read-only role. What that role may not see is NULL.

-- store --
-- The server that answers, and the size of this database on it.
SELECT pg_is_in_recovery() AS is_standby,
       pg_postmaster_start_time() AS started_at,
       pg_database_size(current_database()) AS database_bytes,
       current_setting('synchronous_standby_names') AS synchronous_standby_names;

-- slots --
-- Replication slots and the WAL that each holds back.
SELECT slot_name::text AS slot_name, active AS is_active, wal_status,
       pg_wal_lsn_diff(
           CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END,
           restart_lsn)::bigint AS retained_bytes
FROM pg_replication_slots
WHERE slot_type = 'physical'
ORDER BY slot_name;

-- standbys --
-- By a function of our own, which gives these columns and no more than them to our roles.
SELECT application_name, state, sync_state, flush_lag_bytes, replay_lag_bytes, flush_lag_s,
    replay_lag_s
FROM standby_lag();

-- hosts --
-- Host incarnations that have not been released, and what each owns.
SELECT lease.incarnation, lease.host_name, lease.node, lease.pid, lease.counter, lease.started_at,
       lease.metrics_address,
       extract(epoch FROM statement_timestamp() - lease.started_at)::float8 AS age_s,
       coalesce(array_agg(owned.partition_index::integer ORDER BY owned.partition_index)
                FILTER (WHERE owned.partition_index IS NOT NULL), '{}') AS partition_indexes
FROM host_lease AS lease
LEFT JOIN partition AS owned ON owned.owner = lease.incarnation
WHERE lease.released_at IS NULL
GROUP BY lease.incarnation
ORDER BY lease.host_name, lease.started_at;

-- open_counts --
SELECT status, count(*) AS order_count FROM open_order GROUP BY status;

-- parked_counts --
-- Orders that rest, by the PSP of their attempt and the reason (payments/parking.py).
SELECT tried.psp, resting.parked_reason, count(*) AS order_count
FROM open_order AS resting
JOIN attempt AS tried USING (partition_index, order_no, attempt_no)
WHERE resting.parked_reason IS NOT NULL
GROUP BY tried.psp, resting.parked_reason
ORDER BY tried.psp, resting.parked_reason;

-- outcome_counts --
-- Reads every outcome: bounded by the caller's statement_timeout.
SELECT status, count(*) AS order_count FROM order_outcome GROUP BY status;

-- decisions --
-- What waits for a person: dead letters that are open and have no action under way, and PSPs' events of
-- the last $1 days that contradict the books (4) or found no order (5). Nothing ever closes such an event.
SELECT (
    SELECT count(letter.dead_letter_no) FROM dead_letter AS letter
    WHERE NOT EXISTS (
        SELECT FROM dead_letter_result AS ended
        WHERE ended.dead_letter_no = letter.dead_letter_no AND ended.result IN (1, 2))
    AND NOT EXISTS (
        SELECT FROM dead_letter_pending AS pending JOIN dead_letter_action AS wanted USING (action_no)
        WHERE wanted.dead_letter_no = letter.dead_letter_no)
) AS dead_letter_count,
    count(*) FILTER (WHERE result = 4) AS contradicting_event_count,
    count(*) FILTER (WHERE result = 5) AS unmatched_event_count
FROM psp_event_result
WHERE result IN (4, 5) AND recorded_at > statement_timestamp() - make_interval(days => $1::integer);

-- trouble --
-- Partitions that take nothing in, or whose last hosts died over them, and orders that nobody touches.
SELECT coalesce(array_agg(partition_index::integer ORDER BY partition_index)
                FILTER (WHERE intake_paused_at IS NOT NULL), '{}') AS paused,
       coalesce(array_agg(partition_index::integer ORDER BY partition_index)
                FILTER (WHERE stall_count >= 2), '{}') AS stalled,
       (SELECT count(*) FROM parked_order) AS parked_order_count
FROM partition;

-- webhooks --
-- The dispatcher's signs of life, and endpoints by status; both of one moment. Deliveries that wait are counted
-- up to $1.
SELECT (SELECT jsonb_object_agg(status, endpoint_count) FROM (
        SELECT status, count(*) AS endpoint_count FROM webhook_endpoint
        WHERE deleted_at IS NULL GROUP BY status) AS counted) AS endpoint_counts,
    (SELECT count(*) FROM (SELECT FROM webhook_delivery WHERE state = 1 LIMIT $1::integer) AS found
    )::integer AS waiting_count,
    lead.name AS lead_name, lead.metrics_address, lead.behind_s, lead.held_up_s,
    extract(epoch FROM statement_timestamp() - lead.beat_at)::float8 AS beat_age_s
FROM (SELECT) AS one LEFT JOIN webhook_dispatcher AS lead ON true;
