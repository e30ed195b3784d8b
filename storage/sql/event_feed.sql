-- The feed of events: pages of places, and what is said at them.
--
-- Run by sessions that plan with loops over indexes and without sorts (storage/event_feed.py): an index has
-- the feed's order, and a plan is made once, perhaps while the tables are empty.

-- pages --
-- For each merchant and mode ($1, $2) the places behind one ($3 to $6), at most $7 of them. A transaction
-- that still runs may write before one that has ended, so nothing is shown from the oldest running one on:
-- what is behind a place that was shown came later, whatever ran side by side.
SELECT wanted.request_no, found.db_transaction, found.partition_index, found.order_no, found.sequence,
    found.type, found.created_at
FROM unnest($1::integer[], $2::smallint[], $3::xid8[], $4::integer[], $5::bigint[], $6::integer[],
    $7::integer[]) WITH ORDINALITY AS wanted (merchant_no, mode, db_transaction, partition_index,
    order_no, sequence, count_max, request_no)
CROSS JOIN LATERAL (
    SELECT event.db_transaction, event.partition_index, event.order_no, event.sequence, event.type,
        event.created_at
    FROM event
    WHERE event.merchant_no = wanted.merchant_no AND event.mode = wanted.mode
        AND (event.db_transaction, event.partition_index, event.order_no, event.sequence)
            > (wanted.db_transaction, wanted.partition_index, wanted.order_no, wanted.sequence)
        AND event.db_transaction < pg_snapshot_xmin(pg_current_snapshot())
    ORDER BY event.db_transaction, event.partition_index, event.order_no, event.sequence
    LIMIT wanted.count_max
) AS found
ORDER BY wanted.request_no, found.db_transaction, found.partition_index, found.order_no, found.sequence;

-- newest --
-- The last place of a merchant's feed that can be shown.
SELECT db_transaction, partition_index, order_no, sequence FROM event
WHERE merchant_no = $1 AND mode = $2 AND db_transaction < pg_snapshot_xmin(pg_current_snapshot())
ORDER BY db_transaction DESC, partition_index DESC, order_no DESC, sequence DESC
LIMIT 1;

-- horizon --
-- How far can be looked, and whether a transaction that runs is what ends it.
SELECT pg_snapshot_xmin(snapshot) AS horizon, pg_snapshot_xmax(snapshot) > pg_snapshot_xmin(snapshot)
    AS is_held
FROM pg_current_snapshot() AS snapshot;

-- events --
-- Events of payments by their identities ($1 to $3), each with the payment as it stood then: what never
-- changes any more. Its attempts are those that its transaction, or one before it, made; the end that froze
-- its answer counts from the event of that end on; and of events after that, so do the captures and refunds
-- that their transaction, or one before it, has done.
SELECT e.partition_index, e.order_no, e.sequence, e.type, e.created_at, e.merchant_no, e.mode,
    o.idempotency_key, o.amount_minor, o.currency, o.fee_minor, o.metadata, o.api_version, o.accepted_at,
    o.captures_manually, s.seller_id, a.psp AS attempt_psp, coalesce(a.attempt_no, 0) AS open_attempt_no,
    2 AS open_status, true AS is_outcome_known, NULL AS open_psp_reference, NULL AS next_action_url,
    NULL AS action_expires_at, NULL AS next_retry_at,
    d.status AS ended_status, d.amount_captured_minor, d.fee_minor AS ended_fee_minor,
    d.attempt_no AS ended_attempt_no, d.psp AS ended_psp, d.psp_reference AS ended_psp_reference,
    d.failure_code, d.decline_code, d.failure_message, d.effective_at, d.recorded_at,
    coalesce(e.sequence > d.event_sequence, false) AS is_after_end,
    since.captured_since_minor, since.refunded_since_minor, since.fee_since_minor, parts.splits
FROM unnest($1::smallint[], $2::bigint[], $3::integer[]) AS wanted (partition_index, order_no, sequence)
CROSS JOIN LATERAL (
    SELECT * FROM event AS candidate
    WHERE candidate.partition_index = wanted.partition_index
        AND candidate.order_no = wanted.order_no AND candidate.sequence = wanted.sequence
    LIMIT 1
) AS e
CROSS JOIN LATERAL (
    SELECT * FROM payment_order AS candidate
    WHERE candidate.partition_index = e.partition_index AND candidate.order_no = e.order_no
    LIMIT 1
) AS o
CROSS JOIN LATERAL (
    SELECT seller_id FROM seller WHERE seller.seller_no = o.seller_no LIMIT 1
) AS s
LEFT JOIN LATERAL (
    SELECT attempt_no, psp FROM attempt
    WHERE attempt.partition_index = e.partition_index AND attempt.order_no = e.order_no
        AND attempt.created_at <= e.created_at
    ORDER BY attempt_no DESC LIMIT 1
) AS a ON true
LEFT JOIN LATERAL (
    SELECT * FROM order_outcome
    WHERE order_outcome.partition_index = e.partition_index AND order_outcome.order_no = e.order_no
        AND order_outcome.event_sequence <= e.sequence
    LIMIT 1
) AS d ON true
LEFT JOIN LATERAL (
    SELECT coalesce(sum(done.amount_captured_minor) FILTER (WHERE op.kind = 1), 0)::bigint
            AS captured_since_minor,
        coalesce(sum(done.amount_captured_minor) FILTER (WHERE op.kind = 3), 0)::bigint
            AS refunded_since_minor,
        coalesce(sum(done.fee_minor), 0)::bigint AS fee_since_minor
    FROM operation AS op
    JOIN order_outcome AS done
        ON done.partition_index = op.partition_index AND done.order_no = op.order_no
    WHERE e.sequence > d.event_sequence AND op.partition_index = e.partition_index
        AND op.payment_no = e.order_no AND done.status = 5 AND done.recorded_at <= e.created_at
) AS since ON true
CROSS JOIN LATERAL (
    SELECT jsonb_agg(jsonb_build_object('seller', of_part.seller_id, 'amount', split.amount_minor,
        'fee', split.fee_minor) ORDER BY split.position)::text AS splits
    FROM payment_split AS split
    JOIN seller AS of_part ON of_part.seller_no = split.seller_no
    WHERE split.partition_index = o.partition_index AND split.order_no = o.order_no
) AS parts;

-- operation_events --
-- The same of captures, voids, refunds and expiries. One has begun once it has an attempt.
SELECT e.partition_index, e.order_no, e.sequence, e.type, e.created_at, e.merchant_no, e.mode,
    op.operation_uuid, op.kind, op.amount_minor, op.currency, op.fingerprint, op.api_version,
    op.accepted_at, o.idempotency_key AS payment_key,
    CASE WHEN EXISTS (
        SELECT FROM attempt
        WHERE attempt.partition_index = e.partition_index AND attempt.order_no = e.order_no
            AND attempt.created_at <= e.created_at) THEN 2 ELSE 1 END AS open_status,
    true AS is_outcome_known, NULL AS next_retry_at, d.status AS ended_status, d.failure_code,
    d.decline_code, d.failure_message, d.effective_at, d.recorded_at
FROM unnest($1::smallint[], $2::bigint[], $3::integer[]) AS wanted (partition_index, order_no, sequence)
CROSS JOIN LATERAL (
    SELECT * FROM event AS candidate
    WHERE candidate.partition_index = wanted.partition_index
        AND candidate.order_no = wanted.order_no AND candidate.sequence = wanted.sequence
    LIMIT 1
) AS e
CROSS JOIN LATERAL (
    SELECT * FROM operation AS candidate
    WHERE candidate.partition_index = e.partition_index AND candidate.order_no = e.order_no
    LIMIT 1
) AS op
CROSS JOIN LATERAL (
    SELECT idempotency_key FROM payment_order
    WHERE payment_order.partition_index = op.partition_index
        AND payment_order.order_no = op.payment_no
    LIMIT 1
) AS o
LEFT JOIN LATERAL (
    SELECT * FROM order_outcome
    WHERE order_outcome.partition_index = e.partition_index AND order_outcome.order_no = e.order_no
        AND order_outcome.event_sequence <= e.sequence
    LIMIT 1
) AS d ON true;

-- dispute_events --
-- The same of disputes: how one stood is what its event says, all else of it never changes.
SELECT e.partition_index, e.order_no, e.sequence, e.type, e.created_at, e.merchant_no, e.mode,
    of_dispute.psp, of_dispute.reference, of_dispute.amount_minor, of_dispute.currency,
    of_dispute.opened_at,
    o.idempotency_key AS payment_key, o.api_version
FROM unnest($1::smallint[], $2::bigint[], $3::integer[]) AS wanted (partition_index, order_no, sequence)
CROSS JOIN LATERAL (
    SELECT * FROM event AS candidate
    WHERE candidate.partition_index = wanted.partition_index
        AND candidate.order_no = wanted.order_no AND candidate.sequence = wanted.sequence
    LIMIT 1
) AS e
CROSS JOIN LATERAL (
    SELECT * FROM dispute AS candidate
    WHERE candidate.partition_index = e.partition_index AND candidate.order_no = e.order_no
    LIMIT 1
) AS of_dispute
CROSS JOIN LATERAL (
    SELECT idempotency_key, api_version FROM payment_order
    WHERE payment_order.partition_index = of_dispute.partition_index
        AND payment_order.order_no = of_dispute.payment_no
    LIMIT 1
) AS o;

-- first_since --
-- The first place of a merchant's feed at or behind a transaction ($3), and when its event was written.
SELECT db_transaction, created_at FROM event
WHERE merchant_no = $1 AND mode = $2 AND db_transaction >= $3::xid8
    AND db_transaction < pg_snapshot_xmin(pg_current_snapshot())
ORDER BY db_transaction, partition_index, order_no, sequence
LIMIT 1;
