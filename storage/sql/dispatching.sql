-- Statements of the dispatcher, which sends webhooks: what it has to do, and what became of it.

-- take_lead --
-- Held by the session until its end: whoever writes below does it in a session that has this lock.
SELECT pg_try_advisory_lock(7311, 9) AS is_lead;

-- note_lead --
-- Who it is now.
INSERT INTO webhook_dispatcher (name, metrics_address, backend_pid, backend_start)
SELECT $1, $2, pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()
ON CONFLICT (is_singleton) DO UPDATE
SET name = excluded.name, metrics_address = excluded.metrics_address, backend_pid = excluded.backend_pid,
    backend_start = excluded.backend_start, beat = webhook_dispatcher.beat + 1, beat_at = now();

-- beat --
UPDATE webhook_dispatcher SET beat = beat + 1, beat_at = now(), behind_s = $1, held_up_s = $2;

-- last_beat --
SELECT beat FROM webhook_dispatcher;

-- end_silent --
-- The session of one whose beat ($1) has not changed for too long: it is frozen, and would keep the lock.
SELECT pg_terminate_backend(activity.pid)
FROM webhook_dispatcher AS silent
JOIN pg_stat_activity AS activity
    ON activity.pid = silent.backend_pid AND activity.backend_start = silent.backend_start
WHERE silent.beat = $1;

-- endpoints --
-- All that are not deleted, with their place and the secrets that are valid now, newest first.
SELECT e.endpoint_no, e.merchant_no, e.mode, e.url, e.types, e.status, p.db_transaction,
    p.partition_index, p.order_no, p.sequence, p.failing_since, array(
        SELECT envelope FROM webhook_secret AS s
        WHERE s.endpoint_no = e.endpoint_no AND (s.expires_at IS NULL OR s.expires_at > now())
        ORDER BY s.secret_no DESC) AS secrets
FROM webhook_endpoint AS e JOIN webhook_progress AS p USING (endpoint_no)
WHERE e.deleted_at IS NULL
ORDER BY e.endpoint_no;

-- recorded --
-- Of endpoints ($1), the deliveries behind their place that have a row already: results come in any order.
SELECT d.endpoint_no, d.db_transaction, d.partition_index, d.order_no, d.sequence
FROM unnest($1::integer[]) AS wanted (endpoint_no)
CROSS JOIN LATERAL (
    SELECT * FROM webhook_progress AS candidate WHERE candidate.endpoint_no = wanted.endpoint_no LIMIT 1
) AS p
CROSS JOIN LATERAL (
    SELECT * FROM webhook_delivery AS candidate
    WHERE candidate.endpoint_no = wanted.endpoint_no
        AND (candidate.db_transaction, candidate.partition_index, candidate.order_no, candidate.sequence)
            > (p.db_transaction, p.partition_index, p.order_no, p.sequence)
    ORDER BY candidate.db_transaction, candidate.partition_index, candidate.order_no, candidate.sequence
    LIMIT $2::integer
) AS d;

-- waiting_counts --
-- Of endpoints ($1), how many deliveries wait for a try, counted up to $2.
SELECT wanted.endpoint_no, counted.waiting_count
FROM unnest($1::integer[]) AS wanted (endpoint_no)
CROSS JOIN LATERAL (
    SELECT count(*)::integer AS waiting_count FROM (
        SELECT FROM webhook_delivery AS candidate
        WHERE candidate.endpoint_no = wanted.endpoint_no AND candidate.state = 1
        LIMIT $2::integer
    ) AS found
) AS counted;

-- due --
-- Of endpoints ($1) those deliveries whose next try is due, oldest first, at most $2 of each; not those behind
-- a place that the endpoint has not passed, which are tried for the first time now.
SELECT d.endpoint_no, d.db_transaction, d.partition_index, d.order_no, d.sequence, d.type,
    d.event_created_at, d.round_try_count
FROM unnest($1::integer[], $2::integer[]) AS wanted (endpoint_no, count_max)
CROSS JOIN LATERAL (
    SELECT * FROM webhook_delivery AS candidate
    WHERE candidate.endpoint_no = wanted.endpoint_no AND candidate.state = 1
        AND candidate.due_at <= clock_timestamp()
    ORDER BY candidate.due_at
    LIMIT wanted.count_max
) AS d;

-- record --
-- What became of tries, one row an event and endpoint; how far each endpoint ($15 to $20) is now, and since
-- when nothing has succeeded there; and endpoints ($21 to $23) that are sent nothing any more.
WITH tried AS (
    INSERT INTO webhook_delivery AS kept (endpoint_no, db_transaction, partition_index, order_no,
        sequence, type, event_created_at, state, try_count, round_try_count, due_at, first_try_at,
        last_try_at, last_http_status, last_error, last_duration_ms)
    SELECT endpoint_no, db_transaction, partition_index, order_no, sequence, type, event_created_at,
        state, 1, round_try_count,
        CASE WHEN state = 1 THEN clock_timestamp() + make_interval(secs => delay_s) END,
        tried_at, tried_at, http_status, error, duration_ms
    FROM unnest($1::integer[], $2::xid8[], $3::integer[], $4::bigint[], $5::integer[],
        $6::smallint[], $7::timestamptz[], $8::smallint[], $9::smallint[], $10::float8[],
        $11::timestamptz[], $12::smallint[], $13::text[], $14::integer[]) AS told (endpoint_no,
        db_transaction, partition_index, order_no, sequence, type, event_created_at, state,
        round_try_count, delay_s, tried_at, http_status, error, duration_ms)
    ON CONFLICT (endpoint_no, db_transaction, partition_index, order_no, sequence) DO UPDATE
    SET state = excluded.state, try_count = kept.try_count + 1,
        round_try_count = excluded.round_try_count, due_at = excluded.due_at,
        last_try_at = excluded.last_try_at, last_http_status = excluded.last_http_status,
        last_error = excluded.last_error, last_duration_ms = excluded.last_duration_ms
    RETURNING kept.endpoint_no
), moved AS (
    UPDATE webhook_progress AS progress
    SET db_transaction = now_at.db_transaction, partition_index = now_at.partition_index,
        order_no = now_at.order_no, sequence = now_at.sequence,
        failing_since = CASE WHEN now_at.is_failing
            THEN coalesce(progress.failing_since, clock_timestamp()) END
    FROM unnest($15::integer[], $16::xid8[], $17::integer[], $18::bigint[], $19::integer[],
        $20::boolean[]) AS now_at (endpoint_no, db_transaction, partition_index, order_no, sequence,
        is_failing)
    WHERE progress.endpoint_no = now_at.endpoint_no
    RETURNING progress.endpoint_no
), ended AS (
    UPDATE webhook_endpoint AS endpoint
    SET status = stopped.status, status_reason = stopped.reason, status_at = clock_timestamp(),
        updated_at = clock_timestamp()
    FROM unnest($21::integer[], $22::smallint[], $23::text[]) AS stopped (endpoint_no, status, reason)
    WHERE endpoint.endpoint_no = stopped.endpoint_no AND endpoint.status = 1
    RETURNING endpoint.endpoint_no
)
SELECT (SELECT count(*) FROM tried)::integer AS tried_count,
    (SELECT count(*) FROM moved)::integer AS moved_count,
    (SELECT count(*) FROM ended)::integer AS ended_count;

-- prune --
-- The oldest rows of an endpoint's ($1) log that have ended, of events before a time ($2). Only the first of
-- them are looked at: what is old stands first.
DELETE FROM webhook_delivery AS old
USING (
    SELECT db_transaction, partition_index, order_no, sequence, event_created_at, state
    FROM webhook_delivery WHERE endpoint_no = $1
    ORDER BY db_transaction, partition_index, order_no, sequence
    LIMIT $3::integer
) AS first
WHERE old.endpoint_no = $1 AND old.db_transaction = first.db_transaction
    AND old.partition_index = first.partition_index AND old.order_no = first.order_no
    AND old.sequence = first.sequence AND first.state <> 1 AND first.event_created_at < $2
RETURNING old.endpoint_no;
