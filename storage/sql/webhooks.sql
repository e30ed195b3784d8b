-- Webhook endpoints and their deliveries, for gateways and the command line.

-- lock_merchant --
-- One at a time, so that two at once can't pass a limit together. Whoever waited here looks anew.
SELECT merchant_no FROM merchant WHERE merchant_no = $1 FOR NO KEY UPDATE;

-- create_endpoint --
-- With its first secret, and its place in the feed: what is written from now on. Nothing when the merchant
-- has $6 endpoints in this mode.
WITH counted AS MATERIALIZED (
    SELECT count(*) AS endpoint_count FROM webhook_endpoint
    WHERE merchant_no = $1 AND mode = $2 AND deleted_at IS NULL
), created AS (
    INSERT INTO webhook_endpoint (merchant_no, mode, url, types)
    SELECT $1, $2, $3, $4 FROM counted WHERE endpoint_count < $6::integer
    RETURNING endpoint_no
), signed AS (
    INSERT INTO webhook_secret (endpoint_no, envelope) SELECT endpoint_no, $5 FROM created
), placed AS (
    INSERT INTO webhook_progress (endpoint_no, db_transaction, partition_index, order_no, sequence)
    SELECT endpoint_no, pg_snapshot_xmin(pg_current_snapshot()), -1, 0, 0 FROM created
)
SELECT endpoint_no FROM created;

-- endpoints --
-- Those of a merchant and mode, newest first: one ($3), or those below a number ($4), at most $5.
SELECT e.endpoint_no, e.merchant_no, e.mode, e.url, e.types, e.status, e.status_reason, e.status_at,
    e.created_at, p.failing_since,
    (SELECT count(*) FROM webhook_secret AS s WHERE s.endpoint_no = e.endpoint_no
        AND (s.expires_at IS NULL OR s.expires_at > statement_timestamp()))::integer AS secret_count,
    (SELECT min(s.expires_at) FROM webhook_secret AS s WHERE s.endpoint_no = e.endpoint_no
        AND s.expires_at > statement_timestamp()) AS secret_expires_at
FROM webhook_endpoint AS e JOIN webhook_progress AS p USING (endpoint_no)
WHERE ($1::integer IS NULL OR e.merchant_no = $1) AND ($2::smallint IS NULL OR e.mode = $2)
    AND e.deleted_at IS NULL AND ($3::integer IS NULL OR e.endpoint_no = $3)
    AND e.endpoint_no < $4::bigint
ORDER BY e.endpoint_no DESC
LIMIT $5::integer;

-- delete_endpoint --
-- Its log stays; its secrets end now.
WITH deleted AS (
    UPDATE webhook_endpoint SET deleted_at = now(), updated_at = now()
    WHERE merchant_no = $1 AND mode = $2 AND endpoint_no = $3 AND deleted_at IS NULL
    RETURNING endpoint_no
), ended AS (
    UPDATE webhook_secret SET expires_at = now() FROM deleted
    WHERE webhook_secret.endpoint_no = deleted.endpoint_no
)
SELECT endpoint_no FROM deleted;

-- set_status --
-- One that is enabled (1) has failed at nothing yet.
WITH endpoint AS (
    UPDATE webhook_endpoint
    SET status = $4::smallint, status_reason = $5, updated_at = now(),
        status_at = CASE WHEN status = $4 THEN status_at ELSE now() END
    WHERE merchant_no = $1 AND mode = $2 AND endpoint_no = $3 AND deleted_at IS NULL
    RETURNING endpoint_no, status
), forgiven AS (
    UPDATE webhook_progress SET failing_since = NULL FROM endpoint
    WHERE webhook_progress.endpoint_no = endpoint.endpoint_no AND endpoint.status = 1
)
SELECT endpoint_no FROM endpoint;

-- rotate_secret --
-- A new secret beside the present one, which ends in $5 seconds. One that was to end already ends now.
WITH endpoint AS (
    UPDATE webhook_endpoint SET updated_at = now()
    WHERE merchant_no = $1 AND mode = $2 AND endpoint_no = $3 AND deleted_at IS NULL
    RETURNING endpoint_no
), ended AS (
    UPDATE webhook_secret AS secret
    SET expires_at = CASE WHEN expires_at IS NULL THEN now() + make_interval(secs => $5) ELSE now() END
    FROM endpoint
    WHERE secret.endpoint_no = endpoint.endpoint_no AND (expires_at IS NULL OR expires_at > now())
), signed AS (
    INSERT INTO webhook_secret (endpoint_no, envelope) SELECT endpoint_no, $4 FROM endpoint
)
SELECT endpoint_no FROM endpoint;

-- deliveries --
-- Of an endpoint ($1), newest first, below a place ($2 to $5); of one state ($6) or of all.
SELECT db_transaction, partition_index, order_no, sequence, type, event_created_at, state, try_count,
    due_at, first_try_at, last_try_at, last_http_status, last_error, last_duration_ms
FROM webhook_delivery
WHERE endpoint_no = $1
    AND (db_transaction, partition_index, order_no, sequence)
        < ($2::xid8, $3::integer, $4::bigint, $5::integer)
    AND ($6::smallint IS NULL OR state = $6)
ORDER BY db_transaction DESC, partition_index DESC, order_no DESC, sequence DESC
LIMIT $7::integer;

-- resend --
-- One delivery, now, with all its tries before it. One that waits is due now.
UPDATE webhook_delivery
SET round_try_count = CASE WHEN state = 1 THEN round_try_count ELSE 0 END, state = 1,
    due_at = statement_timestamp()
WHERE endpoint_no = $1 AND db_transaction = $2::xid8 AND partition_index = $3 AND order_no = $4
    AND sequence = $5
RETURNING endpoint_no;

-- resend_range --
-- Deliveries between two places ($2 first, $3 beyond the last one), of events of a time ($4 up to $5) and of
-- one state ($6) or of all that don't wait; at most $7, oldest first. Tells the last place.
WITH wanted AS MATERIALIZED (
    SELECT db_transaction, partition_index, order_no, sequence FROM webhook_delivery
    WHERE endpoint_no = $1 AND db_transaction >= $2::xid8 AND db_transaction < $3::xid8
        AND event_created_at >= $4 AND event_created_at < $5
        AND state = ANY ($6::smallint[])
    ORDER BY db_transaction, partition_index, order_no, sequence
    LIMIT $7::integer
), begun AS (
    UPDATE webhook_delivery AS delivery
    SET state = 1, round_try_count = 0, due_at = statement_timestamp()
    FROM wanted
    WHERE delivery.endpoint_no = $1 AND delivery.db_transaction = wanted.db_transaction
        AND delivery.partition_index = wanted.partition_index
        AND delivery.order_no = wanted.order_no AND delivery.sequence = wanted.sequence
    RETURNING delivery.endpoint_no
)
SELECT count(*)::integer AS delivery_count FROM begun;

-- audit --
INSERT INTO audit (actor, action, subject, detail)
VALUES ($1, $2, $3, jsonb_build_object('reason', $4::text));
