-- Reads of orders, transfers and wallets. Every statement is one snapshot.

-- known_orders --
-- Which keys orders would find. New orders are looked for all the time, of which none is there; and setting up all
-- that orders needs, in each partition's tables, takes longer than finding nothing.
SELECT o.order_uuid
FROM unnest($1::smallint[], $2::uuid[]) AS wanted (partition_index, order_uuid)
CROSS JOIN LATERAL (
    SELECT candidate.order_uuid FROM payment_order AS candidate
    WHERE candidate.order_uuid = wanted.order_uuid
      AND candidate.partition_index = wanted.partition_index
    LIMIT 1
) AS o
UNION ALL
SELECT aside.order_uuid
FROM unnest($1::smallint[], $2::uuid[]) AS wanted (partition_index, order_uuid)
CROSS JOIN LATERAL (
    SELECT candidate.order_uuid FROM set_aside_order AS candidate
    WHERE candidate.partition_index = wanted.partition_index
      AND candidate.order_uuid = wanted.order_uuid
    LIMIT 1
) AS aside;

-- orders --
-- Each order by its identity: what it is, and how it stands or ended. LATERAL ... LIMIT 1 keeps the
-- planner at index look-ups in one child table a key, whatever it believes about the tables' sizes:
-- the common case on the hot path is a batch of new keys, of which none is found.
SELECT o.partition_index, o.order_no, o.order_uuid, o.idempotency_key, o.merchant_no, o.mode,
       o.amount_minor, o.currency, o.fee_minor, o.fingerprint, o.metadata, o.api_version, o.accepted_at,
       o.captures_manually,
       s.seller_id,
       a.psp AS attempt_psp,
       n.status AS open_status, n.is_outcome_known, n.attempt_no AS open_attempt_no,
       n.psp_reference AS open_psp_reference, n.next_action_url, n.action_expires_at, n.next_retry_at,
       d.status AS ended_status, d.amount_captured_minor, d.fee_minor AS ended_fee_minor,
       d.attempt_no AS ended_attempt_no, d.psp AS ended_psp, d.psp_reference AS ended_psp_reference,
       d.failure_code, d.decline_code, d.failure_message, d.effective_at, d.recorded_at,
       stands.status AS present_status, stands.captured_minor, stands.refunded_minor,
       stands.fee_taken_minor, stands.operation_count, stands.updated_at,
       false AS is_set_aside, parts.splits
FROM unnest($1::smallint[], $2::uuid[]) AS wanted (partition_index, order_uuid)
CROSS JOIN LATERAL (
    SELECT * FROM payment_order AS candidate
    WHERE candidate.order_uuid = wanted.order_uuid
      AND candidate.partition_index = wanted.partition_index
    LIMIT 1
) AS o
JOIN LATERAL (
    SELECT seller_id FROM seller WHERE seller.seller_no = o.seller_no LIMIT 1
) AS s ON true
LEFT JOIN LATERAL (
    SELECT * FROM open_order
    WHERE open_order.partition_index = o.partition_index AND open_order.order_no = o.order_no
    LIMIT 1
) AS n ON true
LEFT JOIN LATERAL (
    SELECT * FROM order_outcome
    WHERE order_outcome.partition_index = o.partition_index AND order_outcome.order_no = o.order_no
    LIMIT 1
) AS d ON true
LEFT JOIN LATERAL (
    SELECT psp FROM attempt
    WHERE attempt.partition_index = o.partition_index AND attempt.order_no = o.order_no
      AND attempt.attempt_no = n.attempt_no
    LIMIT 1
) AS a ON true
LEFT JOIN LATERAL (
    SELECT * FROM payment_standing
    WHERE payment_standing.partition_index = o.partition_index
      AND payment_standing.order_no = o.order_no
    LIMIT 1
) AS stands ON true
CROSS JOIN LATERAL (
    SELECT jsonb_agg(jsonb_build_object('seller', of_part.seller_id, 'amount', split.amount_minor,
        'fee', split.fee_minor) ORDER BY split.position)::text AS splits
    FROM payment_split AS split
    JOIN seller AS of_part ON of_part.seller_no = split.seller_no
    WHERE split.partition_index = o.partition_index AND split.order_no = o.order_no
) AS parts
UNION ALL
-- Orders whose message is a dead letter: nothing of them is known but what its header told.
SELECT aside.partition_index, 0, aside.order_uuid, NULL, aside.merchant_no, aside.mode,
       NULL, NULL, NULL, coalesce(aside.fingerprint, ''), NULL, aside.api_version, aside.accepted_at,
       false,
       NULL,
       NULL,
       NULL, NULL, NULL,
       NULL, NULL, NULL, NULL,
       ended.result, NULL, NULL,
       NULL, NULL, NULL,
       NULL, NULL, NULL, NULL, ended.recorded_at,
       NULL, NULL, NULL, NULL, NULL, NULL,
       true, NULL
FROM unnest($1::smallint[], $2::uuid[]) AS wanted (partition_index, order_uuid)
CROSS JOIN LATERAL (
    SELECT * FROM set_aside_order AS candidate
    WHERE candidate.partition_index = wanted.partition_index
      AND candidate.order_uuid = wanted.order_uuid
    LIMIT 1
) AS aside
LEFT JOIN LATERAL (
    SELECT result, recorded_at FROM dead_letter_result
    WHERE dead_letter_result.dead_letter_no = aside.dead_letter_no
      AND dead_letter_result.result = 2
    LIMIT 1
) AS ended ON true
WHERE NOT EXISTS (
    SELECT FROM payment_order AS taken_in
    WHERE taken_in.order_uuid = aside.order_uuid
      AND taken_in.partition_index = aside.partition_index);

-- cursor_position --
-- Where a list's cursor stands. Without the partition: merchants don't know it.
SELECT accepted_at, order_no, partition_index
FROM payment_order
WHERE order_uuid = $1 AND merchant_no = $2 AND mode = $3;

-- page_older --
-- The keys of one page, newest first, strictly below a position. The status comes by sub-select, so
-- that without that filter no other table is touched.
SELECT o.partition_index, o.order_uuid
FROM payment_order AS o
WHERE o.merchant_no = $1 AND o.mode = $2
  AND (o.accepted_at, o.order_no, o.partition_index) < ($3::timestamptz, $4::bigint, $5::integer)
  AND o.accepted_at >= $6::timestamptz AND o.accepted_at < $7::timestamptz
  AND o.amount_minor BETWEEN $8::bigint AND $9::bigint
  AND ($10::text IS NULL OR o.currency = $10)
  AND ($11::jsonb IS NULL OR o.metadata @> $11)
  AND ($12::smallint IS NULL OR $12 = coalesce(
      (SELECT p.status FROM payment_standing AS p
       WHERE p.partition_index = o.partition_index AND p.order_no = o.order_no),
      (SELECT d.status FROM order_outcome AS d
       WHERE d.partition_index = o.partition_index AND d.order_no = o.order_no),
      (SELECT n.status FROM open_order AS n
       WHERE n.partition_index = o.partition_index AND n.order_no = o.order_no)))
ORDER BY o.accepted_at DESC, o.order_no DESC, o.partition_index DESC
LIMIT $13::integer;

-- page_newer --
-- The keys of one page strictly above a position, nearest first: oldest first, so to be reversed.
SELECT o.partition_index, o.order_uuid
FROM payment_order AS o
WHERE o.merchant_no = $1 AND o.mode = $2
  AND (o.accepted_at, o.order_no, o.partition_index) > ($3::timestamptz, $4::bigint, $5::integer)
  AND o.accepted_at >= $6::timestamptz AND o.accepted_at < $7::timestamptz
  AND o.amount_minor BETWEEN $8::bigint AND $9::bigint
  AND ($10::text IS NULL OR o.currency = $10)
  AND ($11::jsonb IS NULL OR o.metadata @> $11)
  AND ($12::smallint IS NULL OR $12 = coalesce(
      (SELECT p.status FROM payment_standing AS p
       WHERE p.partition_index = o.partition_index AND p.order_no = o.order_no),
      (SELECT d.status FROM order_outcome AS d
       WHERE d.partition_index = o.partition_index AND d.order_no = o.order_no),
      (SELECT n.status FROM open_order AS n
       WHERE n.partition_index = o.partition_index AND n.order_no = o.order_no)))
ORDER BY o.accepted_at, o.order_no, o.partition_index
LIMIT $13::integer;

-- transfers --
-- The ledger rows of one order, and of the operations on it and its disputes, in their order; accounts by kind
-- and holder. A wallet's holder is kept as the seller's number; people know the seller's id.
SELECT t.partition_index, t.order_no, t.step, t.batch_seq, t.kind, t.amount_minor, t.currency,
       t.recorded_at,
       debit.kind AS debit_kind, coalesce(debit_seller.seller_id, debit.holder) AS debit_holder,
       credit.kind AS credit_kind, coalesce(credit_seller.seller_id, credit.holder) AS credit_holder
FROM payment_order AS o
CROSS JOIN LATERAL (
    SELECT o.order_no
    UNION ALL
    SELECT op.order_no FROM operation AS op
    WHERE op.partition_index = o.partition_index AND op.payment_no = o.order_no
    UNION ALL
    SELECT given.order_no FROM dispute AS given
    WHERE given.partition_index = o.partition_index AND given.payment_no = o.order_no
) AS mine
JOIN transfer AS t ON t.partition_index = o.partition_index AND t.order_no = mine.order_no
JOIN account AS debit
  ON debit.partition_index = t.partition_index AND debit.account_no = t.debit_account_no
JOIN account AS credit
  ON credit.partition_index = t.partition_index AND credit.account_no = t.credit_account_no
LEFT JOIN seller AS debit_seller
  ON debit_seller.seller_no = CASE WHEN debit.kind = 1 THEN debit.holder::integer END
LEFT JOIN seller AS credit_seller
  ON credit_seller.seller_no = CASE WHEN credit.kind = 1 THEN credit.holder::integer END
WHERE o.partition_index = $1 AND o.order_uuid = $2
ORDER BY t.order_no, t.step;

-- operations --
-- Each operation by its identity: what it is, of which payment, and how it stands or ended.
SELECT op.partition_index, op.order_no, op.operation_uuid, op.kind, op.merchant_no, op.mode,
       op.amount_minor, op.currency, op.fingerprint, op.api_version, op.accepted_at,
       o.idempotency_key AS payment_key,
       n.status AS open_status, n.is_outcome_known, n.next_retry_at,
       d.status AS ended_status, d.failure_code, d.decline_code, d.failure_message,
       d.effective_at, d.recorded_at, false AS is_set_aside
FROM unnest($1::smallint[], $2::uuid[]) AS wanted (partition_index, operation_uuid)
CROSS JOIN LATERAL (
    SELECT * FROM operation AS candidate
    WHERE candidate.operation_uuid = wanted.operation_uuid
      AND candidate.partition_index = wanted.partition_index
    LIMIT 1
) AS op
JOIN LATERAL (
    SELECT idempotency_key FROM payment_order
    WHERE payment_order.partition_index = op.partition_index
      AND payment_order.order_no = op.payment_no
    LIMIT 1
) AS o ON true
LEFT JOIN LATERAL (
    SELECT * FROM open_order
    WHERE open_order.partition_index = op.partition_index AND open_order.order_no = op.order_no
    LIMIT 1
) AS n ON true
LEFT JOIN LATERAL (
    SELECT * FROM order_outcome
    WHERE order_outcome.partition_index = op.partition_index
      AND order_outcome.order_no = op.order_no
    LIMIT 1
) AS d ON true
UNION ALL
-- Those whose message is a dead letter: nothing of them is known but what its header told.
SELECT aside.partition_index, 0, aside.order_uuid, NULL, aside.merchant_no, aside.mode,
       NULL, NULL, coalesce(aside.fingerprint, ''), aside.api_version, aside.accepted_at,
       NULL,
       NULL, NULL, NULL,
       ended.result, NULL, NULL, NULL,
       NULL, ended.recorded_at, true
FROM unnest($1::smallint[], $2::uuid[]) AS wanted (partition_index, operation_uuid)
CROSS JOIN LATERAL (
    SELECT * FROM set_aside_order AS candidate
    WHERE candidate.partition_index = wanted.partition_index
      AND candidate.order_uuid = wanted.operation_uuid
    LIMIT 1
) AS aside
LEFT JOIN LATERAL (
    SELECT result, recorded_at FROM dead_letter_result
    WHERE dead_letter_result.dead_letter_no = aside.dead_letter_no
      AND dead_letter_result.result = 2
    LIMIT 1
) AS ended ON true
WHERE NOT EXISTS (
    SELECT FROM operation AS taken_in
    WHERE taken_in.operation_uuid = aside.order_uuid
      AND taken_in.partition_index = aside.partition_index);

-- operation_keys --
-- One page of a payment's operations of one kind ($3), newest first: those before $4, or all. One row
-- more than is wanted tells whether there are more.
SELECT op.partition_index, op.operation_uuid
FROM payment_order AS o
JOIN operation AS op ON op.partition_index = o.partition_index AND op.payment_no = o.order_no
WHERE o.partition_index = $1 AND o.order_uuid = $2 AND op.kind = $3
  AND ($4::uuid IS NULL OR op.order_no < (
      SELECT edge.order_no FROM operation AS edge
      WHERE edge.operation_uuid = $4 AND edge.partition_index = $1))
ORDER BY op.order_no DESC
LIMIT $5::integer;

-- wallet --
-- The sums of a wallet's slices over all partitions, a row a currency; one row with NULLs where there
-- is no slice yet, so that as_of is always known. A wallet is a liability: credits raise it. A sum of
-- slices may be beyond bigint, so it stays numeric.
SELECT clock.as_of, w.currency, w.posted_minor, w.debits_pending_minor, w.credits_pending_minor
FROM (SELECT statement_timestamp() AS as_of) AS clock
LEFT JOIN (
    SELECT account.currency,
           sum(slice.credits_posted_minor - slice.debits_posted_minor) AS posted_minor,
           sum(slice.debits_pending_minor) AS debits_pending_minor,
           sum(slice.credits_pending_minor) AS credits_pending_minor
    FROM account
    JOIN slice ON slice.partition_index = account.partition_index
              AND slice.account_no = account.account_no
    WHERE account.merchant_no = $1 AND account.mode = $2 AND account.kind = 1
      AND account.holder = $3::text
    GROUP BY account.currency
) AS w ON true
ORDER BY w.currency;
