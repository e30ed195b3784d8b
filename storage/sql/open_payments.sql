-- Payments that have not ended, for the command line, under the read-only role.

-- oldest --
-- The oldest first; $1: only those of unknown outcome. It reads all open orders, which are few against
-- the books, and no index would serve so rare a question. Outer joins: none is hidden by a row that lacks.
SELECT o.order_uuid, o.idempotency_key, merchant.merchant_id, o.amount_minor, o.currency,
    running.status, running.is_outcome_known, running.attempt_no, tried.psp, running.next_retry_at,
    o.accepted_at
FROM open_order AS running
JOIN payment_order AS o USING (partition_index, order_no)
LEFT JOIN merchant USING (merchant_no)
LEFT JOIN attempt AS tried USING (partition_index, order_no, attempt_no)
WHERE NOT ($1::boolean AND running.is_outcome_known)
ORDER BY o.accepted_at, o.partition_index, o.order_no
LIMIT $2::integer;

-- count --
SELECT count(*) AS payment_count FROM open_order WHERE NOT ($1::boolean AND is_outcome_known);
