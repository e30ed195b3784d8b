-- Leases, claims and takeovers.

-- register_lease --
INSERT INTO host_lease (incarnation, host_name, node, pid, metrics_address)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (incarnation) DO NOTHING;

-- forget_old_leases --
-- Leases long released tell nobody anything; the table is read five times a second.
DELETE FROM host_lease WHERE released_at < now() - interval '1 hour';

-- beat_lease --
UPDATE host_lease SET counter = counter + 1 WHERE incarnation = $1
    AND released_at IS NULL RETURNING 1;

-- release_lease --
UPDATE host_lease SET released_at = now() WHERE incarnation = $1 AND released_at IS NULL;

-- release_reaped_lease --
UPDATE host_lease SET released_at = now()
WHERE host_name = $1 AND node = $2 AND pid = $3 AND released_at IS NULL;

-- leases --
SELECT incarnation, host_name, pid, counter, released_at IS NOT NULL AS is_released
FROM host_lease ORDER BY started_at;

-- partitions --
SELECT partition_index, epoch, owner FROM partition ORDER BY partition_index;

-- partition_seen --
-- Takes no lock: a transaction in doubt may hold it.
SELECT epoch, backend_pids, backend_starts FROM partition WHERE partition_index = $1;

-- terminate_backends --
-- Backends that wait for the standby have committed already: ending them would only show their
-- commit early.
SELECT activity.pid, pg_terminate_backend(activity.pid)
FROM unnest($1::integer[], $2::timestamptz[]) AS recorded (pid, started_at)
JOIN pg_stat_activity AS activity
    ON activity.pid = recorded.pid AND activity.backend_start = recorded.started_at
WHERE activity.wait_event IS DISTINCT FROM 'SyncRep' AND activity.pid <> pg_backend_pid();

-- backends_left --
SELECT count(*)
FROM unnest($1::integer[], $2::timestamptz[]) AS recorded (pid, started_at)
JOIN pg_stat_activity AS activity
    ON activity.pid = recorded.pid AND activity.backend_start = recorded.started_at
WHERE activity.wait_event IS DISTINCT FROM 'SyncRep' AND activity.pid <> pg_backend_pid();

-- claim --
-- One statement, one transaction: waits behind whatever still holds the row, and returns after the
-- standby has it. So what is read afterwards is decided for good.
--
-- A host that claimed it and was taken over without a flush since, with work waiting ($6: on the
-- stream), perhaps died of that work.
UPDATE partition
SET epoch = epoch + 1, owner = $3, backend_pids = ARRAY[$4::integer],
    backend_starts = ARRAY[$5::timestamptz],
    claimed_at = now(),
    stall_count = CASE
        WHEN batch_seq > batch_seq_claimed THEN 0
        WHEN owner <> $3 AND ($6::boolean OR EXISTS (
            SELECT FROM open_order WHERE open_order.partition_index = $1
                AND NOT EXISTS (
                    SELECT FROM parked_order
                    WHERE parked_order.partition_index = open_order.partition_index
                        AND parked_order.order_no = open_order.order_no)))
            THEN stall_count + 1
        ELSE stall_count END,
    batch_seq_claimed = batch_seq
WHERE partition_index = $1 AND epoch = $2
RETURNING stall_count, epoch, batch_seq, order_no_last, account_no_last, chain_hash, clock_timestamp() AS recorded_at;

-- note_progress --
-- What waited was tried to its end.
UPDATE partition SET stall_count = 0 WHERE partition_index = $1 AND epoch = $2;

-- park --
-- Leaves an open order alone until somebody looks after it; only its owner may.
WITH held AS MATERIALIZED (
    SELECT partition_index FROM partition WHERE partition_index = $1 AND epoch = $2 FOR UPDATE
), quieted AS (
    DELETE FROM timer USING held
    WHERE timer.partition_index = held.partition_index AND timer.order_no = ANY ($3::bigint[])
)
INSERT INTO parked_order (partition_index, order_no, reason, detail)
SELECT held.partition_index, unnest($3::bigint[]), $4, $5 FROM held
ON CONFLICT DO NOTHING;

-- hand_over --
WITH mine AS MATERIALIZED (
    SELECT partition_index FROM partition WHERE partition_index = ANY ($1::smallint[])
        AND owner = $2
    ORDER BY partition_index FOR UPDATE
)
UPDATE partition SET owner = NULL, backend_pids = '{}', backend_starts = '{}'
FROM mine WHERE partition.partition_index = mine.partition_index;

-- open_orders --
-- One page of a partition's open orders, with all that is needed to carry on. LIMIT 1 ties each
-- look-up to one order: joined plainly, a plan made without statistics read the whole partition for
-- every order (measured: a takeover with 20,000 open orders took 45 s, and takes 1.5 s so).
SELECT open_order.order_no, open_order.status, open_order.is_outcome_known, open_order.try_count,
    open_order.psp_reference, open_order.next_action_url, open_order.action_expires_at,
    open_order.next_retry_at, open_order.parked_reason,
    taken_in.order_uuid, taken_in.idempotency_key, taken_in.merchant_no, taken_in.mode,
    taken_in.seller_no, taken_in.amount_minor, taken_in.currency, taken_in.fee_minor,
    taken_in.fingerprint, taken_in.metadata, taken_in.api_version, taken_in.accepted_at,
    taken_in.captures_manually,
    tried.attempt_no, tried.psp, tried.psp_account, tried.psp_key, tried.epoch, tried.created_at,
    first_tried.created_at AS tried_since,
    detail.envelope AS detail_envelope, request.envelope AS request_envelope,
    last_event.sequence AS event_sequence, next_step.kind IS NOT NULL AS has_timer, parts.splits
FROM open_order
LEFT JOIN LATERAL (
    SELECT * FROM payment_order
    WHERE partition_index = $1 AND order_no = open_order.order_no LIMIT 1
) AS taken_in ON true
LEFT JOIN LATERAL (
    SELECT * FROM attempt
    WHERE partition_index = $1 AND order_no = open_order.order_no
        AND attempt_no = open_order.attempt_no LIMIT 1
) AS tried ON true
LEFT JOIN LATERAL (
    SELECT created_at FROM attempt
    WHERE partition_index = $1 AND order_no = open_order.order_no AND attempt_no = 1 LIMIT 1
) AS first_tried ON true
LEFT JOIN LATERAL (
    SELECT envelope FROM personal_data
    WHERE partition_index = $1 AND order_no = open_order.order_no AND part = 0 LIMIT 1
) AS detail ON true
LEFT JOIN LATERAL (
    SELECT envelope FROM personal_data
    WHERE partition_index = $1 AND order_no = open_order.order_no
        AND part = 100 + open_order.attempt_no LIMIT 1
) AS request ON true
LEFT JOIN LATERAL (
    SELECT sequence FROM event
    WHERE partition_index = $1 AND order_no = open_order.order_no
    ORDER BY sequence DESC LIMIT 1
) AS last_event ON true
LEFT JOIN LATERAL (
    SELECT kind FROM timer
    WHERE partition_index = $1 AND order_no = open_order.order_no LIMIT 1
) AS next_step ON true
LEFT JOIN LATERAL (
    SELECT true AS is_parked FROM parked_order
    WHERE parked_order.partition_index = $1 AND parked_order.order_no = open_order.order_no
    LIMIT 1
) AS parked ON true
LEFT JOIN LATERAL (
    SELECT true AS is_there FROM operation
    WHERE operation.partition_index = $1 AND operation.order_no = open_order.order_no LIMIT 1
) AS an_operation ON true
CROSS JOIN LATERAL (
    SELECT jsonb_agg(jsonb_build_array(seller_no, amount_minor, fee_minor) ORDER BY position)::text
        AS splits
    FROM payment_split
    WHERE payment_split.partition_index = $1 AND payment_split.order_no = open_order.order_no
) AS parts
WHERE open_order.partition_index = $1 AND open_order.order_no > $2 AND parked.is_parked IS NULL
    AND an_operation.is_there IS NULL
ORDER BY open_order.order_no
LIMIT $3;

-- open_operations --
-- The same of operations that have not ended. One that waits for its turn has no attempt.
SELECT open_order.order_no, open_order.status, open_order.is_outcome_known, open_order.try_count,
    open_order.psp_reference, open_order.next_retry_at, open_order.parked_reason,
    op.operation_uuid, op.kind, op.payment_no, op.idempotency_key, op.merchant_no, op.mode,
    op.amount_minor, op.currency, op.fingerprint, op.api_version, op.accepted_at, op.taken_in_at,
    open_order.attempt_no, tried.psp, tried.psp_account, tried.psp_key, tried.epoch,
    tried.created_at, first_tried.created_at AS tried_since,
    last_event.sequence AS event_sequence, next_step.kind IS NOT NULL AS has_timer
FROM open_order
JOIN LATERAL (
    SELECT * FROM operation
    WHERE operation.partition_index = $1 AND operation.order_no = open_order.order_no LIMIT 1
) AS op ON true
LEFT JOIN LATERAL (
    SELECT * FROM attempt
    WHERE partition_index = $1 AND order_no = open_order.order_no
        AND attempt_no = open_order.attempt_no LIMIT 1
) AS tried ON true
LEFT JOIN LATERAL (
    SELECT created_at FROM attempt
    WHERE partition_index = $1 AND order_no = open_order.order_no AND attempt_no = 1 LIMIT 1
) AS first_tried ON true
LEFT JOIN LATERAL (
    SELECT sequence FROM event
    WHERE partition_index = $1 AND order_no = open_order.order_no
    ORDER BY sequence DESC LIMIT 1
) AS last_event ON true
LEFT JOIN LATERAL (
    SELECT kind FROM timer
    WHERE partition_index = $1 AND order_no = open_order.order_no LIMIT 1
) AS next_step ON true
LEFT JOIN LATERAL (
    SELECT true AS is_parked FROM parked_order
    WHERE parked_order.partition_index = $1 AND parked_order.order_no = open_order.order_no
    LIMIT 1
) AS parked ON true
WHERE open_order.partition_index = $1 AND open_order.order_no > $2 AND parked.is_parked IS NULL
ORDER BY open_order.order_no
LIMIT $3;
