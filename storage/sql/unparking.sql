-- Parked orders (parked_order) that an operator lets go on.

-- parked --
-- By the payment's key or the order's own id, of several merchants perhaps; or by an operation's id.
SELECT parked.partition_index, parked.order_no,
    coalesce(taken_in.order_uuid, operated.operation_uuid) AS order_uuid, parked.reason, parked.detail
FROM parked_order AS parked
LEFT JOIN payment_order AS taken_in USING (partition_index, order_no)
LEFT JOIN operation AS operated USING (partition_index, order_no)
WHERE taken_in.idempotency_key = $1 OR taken_in.order_uuid = $1 OR operated.operation_uuid = $1
ORDER BY parked.partition_index, parked.order_no;

-- resting --
-- Open orders of that key, or order id, and operations of that id, that rest until a PSP can be called. By the
-- few that rest.
SELECT tried.psp, resting.parked_reason
FROM open_order AS resting
LEFT JOIN payment_order AS taken_in USING (partition_index, order_no)
LEFT JOIN operation AS operated USING (partition_index, order_no)
JOIN attempt AS tried USING (partition_index, order_no, attempt_no)
WHERE resting.parked_reason IS NOT NULL
AND (taken_in.idempotency_key = $1 OR taken_in.order_uuid = $1 OR operated.operation_uuid = $1);

-- want --
WITH stored AS (
    INSERT INTO intent (key, value)
    VALUES ('unpark:' || $1::integer || ':' || $2::bigint, 'true')
    ON CONFLICT (key) DO UPDATE SET value = excluded.value, updated_at = now()
    RETURNING key
)
INSERT INTO audit (actor, action, subject, detail)
SELECT $3, 'order.unpark', $4, jsonb_build_object('reason', $5::text) FROM stored;

-- wanted --
-- A wish from before an order was parked is not one for letting it go again.
SELECT parked.partition_index, parked.order_no
FROM unnest($1::smallint[]) AS mine (partition_index)
JOIN parked_order AS parked USING (partition_index)
JOIN intent ON intent.key = 'unpark:' || parked.partition_index || ':' || parked.order_no
WHERE intent.updated_at > parked.parked_at;

-- unpark --
-- Only its owner may: the next claim rebuilds the order.
WITH held AS MATERIALIZED (
    SELECT partition_index FROM partition WHERE partition_index = $1 AND epoch = $2 FOR UPDATE
)
DELETE FROM parked_order USING held
WHERE parked_order.partition_index = held.partition_index AND parked_order.order_no = $3;
