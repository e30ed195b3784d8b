-- Reads of disputes. Every statement is one snapshot.

-- disputes --
SELECT given.partition_index, given.order_no, given.merchant_no, given.mode, given.psp, given.reference,
       given.status, given.amount_minor, given.currency, given.opened_at,
       o.idempotency_key AS payment_key, o.api_version
FROM unnest($1::smallint[], $2::bigint[]) AS wanted (partition_index, order_no)
JOIN dispute AS given USING (partition_index, order_no)
JOIN payment_order AS o
  ON o.partition_index = given.partition_index AND o.order_no = given.payment_no;

-- cursor_position --
SELECT opened_at, partition_index, order_no FROM dispute
WHERE partition_index = $1 AND order_no = $2 AND merchant_no = $3 AND mode = $4;

-- page_older --
-- One row more than a page shows tells of further ones. $7 and $8 are a payment's identity, or null.
SELECT partition_index, order_no FROM dispute
WHERE merchant_no = $1 AND mode = $2 AND (opened_at, partition_index, order_no) < ($3, $4, $5)
  AND ($6::smallint IS NULL OR status = $6)
  AND ($8::uuid IS NULL OR (partition_index = $7::smallint AND payment_no = (
      SELECT o.order_no FROM payment_order AS o
      WHERE o.partition_index = $7 AND o.order_uuid = $8)))
ORDER BY opened_at DESC, partition_index DESC, order_no DESC
LIMIT $9::integer;

-- page_newer --
SELECT partition_index, order_no FROM dispute
WHERE merchant_no = $1 AND mode = $2 AND (opened_at, partition_index, order_no) > ($3, $4, $5)
  AND ($6::smallint IS NULL OR status = $6)
  AND ($8::uuid IS NULL OR (partition_index = $7::smallint AND payment_no = (
      SELECT o.order_no FROM payment_order AS o
      WHERE o.partition_index = $7 AND o.order_uuid = $8)))
ORDER BY opened_at, partition_index, order_no
LIMIT $9::integer;
