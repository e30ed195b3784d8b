-- What an owner reads besides its open orders.

-- known_orders --
SELECT payment_order.order_uuid, payment_order.fingerprint
FROM unnest($1::smallint[], $2::uuid[]) AS wanted (partition_index, order_uuid)
JOIN payment_order
    ON payment_order.partition_index = wanted.partition_index
    AND payment_order.order_uuid = wanted.order_uuid;

-- account_heads --
SELECT wanted.position, account.account_no, slice.version, slice.debits_posted_minor,
    slice.credits_posted_minor
FROM unnest($1::smallint[], $2::integer[], $3::smallint[], $4::smallint[], $5::text[], $6::text[])
    WITH ORDINALITY
    AS wanted (partition_index, merchant_no, mode, kind, holder, currency, position)
JOIN account
    ON account.merchant_no = wanted.merchant_no AND account.mode = wanted.mode
    AND account.kind = wanted.kind AND account.holder = wanted.holder
    AND account.currency = wanted.currency::char(3)
        AND account.partition_index = wanted.partition_index
JOIN slice
    ON slice.partition_index = account.partition_index AND slice.account_no = account.account_no;

-- due_timers --
-- A bounded number from each partition first, so that one partition's backlog is not sorted as a
-- whole. Parked orders (4 = resume) are brought up by their owner, in turn: a day's backlog of them
-- must not stand before what only waits for its time.
SELECT due.partition_index, due.order_no, due.kind
FROM unnest($1::smallint[]) AS owned (partition_index)
CROSS JOIN LATERAL (
    SELECT timer.partition_index, timer.order_no, timer.kind, timer.due_at FROM timer
    WHERE timer.partition_index = owned.partition_index AND timer.due_at <= statement_timestamp()
        AND timer.kind <> 4
    ORDER BY timer.due_at LIMIT $2
) AS due
ORDER BY due.due_at
LIMIT $2;
