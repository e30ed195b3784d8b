-- The request log: written by gateways in batches, read by merchants and operators.

-- begin_unconfirmed --
-- Nobody is told that a request was logged, so no answer of the standby is waited for.
BEGIN; SET LOCAL synchronous_commit = off;

-- slot --
-- $1 seconds and $2 bytes that are kept.
SELECT request_log_slot($1, $2) AS slot;

-- of_request --
SELECT request_no, method, route, status, code, idempotency_key, duration_us, received_at, bodies
FROM request_log
WHERE merchant_no = $1 AND mode = $2 AND request_no = $3
LIMIT $4;

-- of_key --
SELECT request_no, method, route, status, code, idempotency_key, duration_us, received_at, bodies
FROM request_log
WHERE merchant_no = $1 AND mode = $2 AND idempotency_key = $3 AND request_no < $4
ORDER BY request_no DESC
LIMIT $5;

-- older --
SELECT request_no, method, route, status, code, idempotency_key, duration_us, received_at, bodies
FROM request_log
WHERE merchant_no = $1 AND mode = $2 AND request_no < $3
ORDER BY request_no DESC
LIMIT $4;

-- newer --
SELECT request_no, method, route, status, code, idempotency_key, duration_us, received_at, bodies
FROM request_log
WHERE merchant_no = $1 AND mode = $2 AND request_no > $3
ORDER BY request_no
LIMIT $4;

-- newest_of_all --
-- For operators: no bodies. Newest first, of the slot that is written and the one before it. What came before
-- $1 was looked at.
SELECT request_no, merchant_id, found.mode, method, route, status, code, idempotency_key, duration_us,
    received_at
FROM (
    SELECT request_no, merchant_no, mode, method, route, status, code, idempotency_key, duration_us,
        received_at
    FROM request_log
    WHERE slot = ANY (ARRAY(SELECT unnest(ARRAY[turn.slot, (turn.slot + 31) % 32]) FROM request_log_turn AS turn)::smallint[])
        AND received_at >= $1 AND request_no > $2
    ORDER BY request_no DESC LIMIT $3
) AS found
JOIN merchant USING (merchant_no)
ORDER BY request_no DESC;

-- newest_of_merchant --
-- The same of one merchant, in both modes and all slots.
SELECT request_no, merchant_id, found.mode, method, route, status, code, idempotency_key, duration_us,
    received_at
FROM (
    SELECT request_no, merchant_no, mode, method, route, status, code, idempotency_key, duration_us,
        received_at
    FROM request_log
    WHERE merchant_no = (SELECT merchant_no FROM merchant WHERE merchant_id = $4)
        AND mode IN (1, 2) AND received_at >= $1 AND request_no > $2
    ORDER BY request_no DESC LIMIT $3
) AS found
JOIN merchant USING (merchant_no)
ORDER BY request_no DESC;
