-- Reads of checkouts. Every statement is one snapshot; a row an order, in the order of the orders.

-- checkouts --
SELECT c.partition_index, c.checkout_uuid, c.idempotency_key, c.merchant_no, m.merchant_id, c.mode,
       c.success_url, c.cancel_url, c.metadata, c.fingerprint, c.api_version, c.accepted_at,
       o.idempotency_key AS order_key, o.seller_no, s.seller_id, o.amount_minor, o.currency,
       o.fingerprint AS order_fingerprint
FROM unnest($1::smallint[], $2::uuid[]) AS wanted (partition_index, checkout_uuid)
JOIN checkout AS c USING (partition_index, checkout_uuid)
JOIN merchant AS m ON m.merchant_no = c.merchant_no
JOIN checkout_order AS o USING (partition_index, checkout_uuid)
JOIN seller AS s ON s.seller_no = o.seller_no
ORDER BY c.partition_index, c.checkout_uuid, o.position;

-- cursor_position --
SELECT accepted_at, checkout_uuid FROM checkout
WHERE partition_index = $1 AND checkout_uuid = $2 AND merchant_no = $3 AND mode = $4;

-- page_older --
-- One row more than a page shows tells of further ones.
SELECT partition_index, checkout_uuid FROM checkout
WHERE merchant_no = $1 AND mode = $2 AND (accepted_at, checkout_uuid) < ($3, $4)
ORDER BY accepted_at DESC, checkout_uuid DESC
LIMIT $5;

-- page_newer --
SELECT partition_index, checkout_uuid FROM checkout
WHERE merchant_no = $1 AND mode = $2 AND (accepted_at, checkout_uuid) > ($3, $4)
ORDER BY accepted_at, checkout_uuid
LIMIT $5;
