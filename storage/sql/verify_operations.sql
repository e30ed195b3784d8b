-- Checks of `tally verify`: captures, voids, refunds and expiries, and what they made of their payments.
-- Kinds: 1 capture, 2 void, 3 refund, 4 expiry. The form of a check is told in verify.sql.

-- operations --
-- Each is of a payment that was there before it, ran or was refused, and tells so by its events.
SELECT op.partition_index, op.order_no, CASE
    WHEN o.order_no IS NULL THEN 'its payment does not exist'
    WHEN op.payment_no >= op.order_no THEN format('is of payment %s, which came later', op.payment_no)
    WHEN (op.merchant_no, op.mode, op.currency) IS DISTINCT FROM (o.merchant_no, o.mode, o.currency)
        THEN 'its payment is of another merchant, mode or currency'
    WHEN frozen.status IS NULL THEN 'was taken in before its payment had ended'
    WHEN op.amount_minor > o.amount_minor AND ended.status = 5
        THEN format('is of %s, and its payment of %s', op.amount_minor, o.amount_minor)
    WHEN ended.status NOT IN (5, 7, 8) THEN format('ended in state %s, which is no end', ended.status)
    WHEN ended.status = 5 AND op.kind IN (1, 3) AND ended.amount_captured_minor <> op.amount_minor
        THEN format('moved %s of %s', ended.amount_captured_minor, op.amount_minor)
    WHEN ended.status <> 5 AND (ended.amount_captured_minor, ended.fee_minor) <> (0, 0)
        THEN format('moved %s without success', ended.amount_captured_minor)
    WHEN (ended.status = 7) <> (ended.failure_code IS NOT NULL)
        THEN 'only a failed operation has a failure code'
    WHEN ended.attempt_no > 0 AND (tried.psp, tried.psp_account)
        IS DISTINCT FROM (frozen.psp, charged.psp_account)
        THEN 'went to another PSP or account than its payment'
    WHEN history.path IS DISTINCT FROM (op.kind * 10 + 1)::text || CASE ended.status
        WHEN 5 THEN ',' || op.kind * 10 + 2 WHEN 7 THEN ',' || op.kind * 10 + 3
        WHEN 8 THEN ',' || op.kind * 10 + 3 ELSE '' END
        THEN format('its events are %s', history.path)
    WHEN ended.event_sequence <> history.event_count OR history.sequence_max <> history.event_count
        THEN 'events are not numbered from 1 on without a gap'
    END AS finding
FROM operation AS op
LEFT JOIN payment_order AS o
    ON o.partition_index = op.partition_index AND o.order_no = op.payment_no
LEFT JOIN order_outcome AS frozen
    ON frozen.partition_index = op.partition_index AND frozen.order_no = op.payment_no
LEFT JOIN attempt AS charged
    ON charged.partition_index = op.partition_index AND charged.order_no = op.payment_no
    AND charged.attempt_no = frozen.attempt_no
LEFT JOIN order_outcome AS ended
    ON ended.partition_index = op.partition_index AND ended.order_no = op.order_no
LEFT JOIN attempt AS tried
    ON tried.partition_index = op.partition_index AND tried.order_no = op.order_no
    AND tried.attempt_no = ended.attempt_no
LEFT JOIN (
    SELECT partition_index, order_no, count(*) AS event_count, max(sequence) AS sequence_max,
           string_agg(type::text, ',' ORDER BY sequence) AS path
    FROM event WHERE type BETWEEN 10 AND 49 GROUP BY partition_index, order_no
) AS history ON history.partition_index = op.partition_index AND history.order_no = op.order_no
UNION ALL
SELECT partition_index, order_no, 'events of an operation that does not exist'
FROM (SELECT DISTINCT partition_index, order_no FROM event WHERE type BETWEEN 10 AND 49) AS told
LEFT JOIN operation AS op USING (partition_index, order_no)
WHERE op.kind IS NULL;

-- operation_transfers --
-- What an operation that was done must have moved: a capture its amount from the PSP's receivable
-- (account kind 2) to the seller's wallet (1), and its fee from there to our income (3); a refund its
-- amount from the wallet to the receivable; a void or an expiry gives back what was held. Of several sellers
-- each has its share, in steps of its own: what each may have had is told by splits, here their sums are looked at.
SELECT op.partition_index, op.order_no, CASE
    WHEN ended.status IS DISTINCT FROM 5 THEN format(
        'a transfer of %s that no success accounts for', moved.amount_minor)
    WHEN moved.step < 1
        OR moved.kind <> CASE op.kind WHEN 1 THEN CASE WHEN place.is_fee THEN 2 ELSE 4 END WHEN 3 THEN 6 ELSE 5 END
        OR CASE WHEN parted.part_count IS NULL THEN place.position > 0 ELSE part.seller_no IS NULL END
        THEN format('step %s of kind %s is none of its own', moved.step, moved.kind)
    WHEN parted.part_count IS NULL
        AND moved.amount_minor <> CASE WHEN place.is_fee THEN ended.fee_minor ELSE ended.amount_captured_minor END
        THEN format('moved %s, and the outcome says %s, fee %s', moved.amount_minor,
            ended.amount_captured_minor, ended.fee_minor)
    WHEN moved.currency <> op.currency OR moved.batch_seq <> ended.batch_seq
        THEN 'is of another currency or batch than its outcome'
    WHEN (debit.merchant_no, debit.mode, debit.currency, debit.kind, debit.holder)
        IS DISTINCT FROM (op.merchant_no, op.mode, op.currency,
            CASE WHEN place.is_fee OR op.kind = 3 THEN 1::smallint ELSE 2::smallint END,
            CASE WHEN place.is_fee OR op.kind = 3 THEN place.holder ELSE frozen.psp END)
        THEN format('debits account %s, which is not the one to debit', moved.debit_account_no)
    WHEN (credit.merchant_no, credit.mode, credit.currency, credit.kind, credit.holder)
        IS DISTINCT FROM (op.merchant_no, op.mode, op.currency,
            CASE WHEN place.is_fee THEN 3::smallint WHEN op.kind = 3 THEN 2::smallint
                ELSE 1::smallint END,
            CASE WHEN place.is_fee THEN '' WHEN op.kind = 3 THEN frozen.psp ELSE place.holder END)
        THEN format('credits account %s, which is not the one to credit', moved.credit_account_no)
    END AS finding
FROM transfer AS moved
JOIN operation AS op USING (partition_index, order_no)
LEFT JOIN order_outcome AS ended USING (partition_index, order_no)
LEFT JOIN payment_order AS o
    ON o.partition_index = op.partition_index AND o.order_no = op.payment_no
LEFT JOIN order_outcome AS frozen
    ON frozen.partition_index = op.partition_index AND frozen.order_no = op.payment_no
LEFT JOIN parted
    ON parted.partition_index = op.partition_index AND parted.order_no = op.payment_no
LEFT JOIN payment_split AS part
    ON part.partition_index = op.partition_index AND part.order_no = op.payment_no
    AND part.position = CASE op.kind WHEN 1 THEN (moved.step - 1) / 2 ELSE moved.step - 1 END
CROSS JOIN LATERAL (
    SELECT CASE op.kind WHEN 1 THEN (moved.step - 1) / 2 ELSE moved.step - 1 END AS position,
        op.kind = 1 AND moved.step % 2 = 0 AS is_fee,
        coalesce(part.seller_no, o.seller_no)::text AS holder
) AS place
LEFT JOIN account AS debit
    ON debit.partition_index = moved.partition_index AND debit.account_no = moved.debit_account_no
LEFT JOIN account AS credit
    ON credit.partition_index = moved.partition_index AND credit.account_no = moved.credit_account_no
UNION ALL
SELECT op.partition_index, op.order_no, CASE
    WHEN parted.part_count IS NULL
        AND coalesce(moved.transfer_count, 0) <> 1 + (ended.fee_minor > 0)::integer THEN format(
        'was done with %s transfers instead of %s', coalesce(moved.transfer_count, 0),
        1 + (ended.fee_minor > 0)::integer)
    WHEN (coalesce(moved.shared_minor, 0), coalesce(moved.fee_minor, 0))
        <> (ended.amount_captured_minor, ended.fee_minor) THEN format(
        'shared %s, fee %s, and the outcome says %s, fee %s', coalesce(moved.shared_minor, 0),
        coalesce(moved.fee_minor, 0), ended.amount_captured_minor, ended.fee_minor)
    END
FROM operation AS op
JOIN order_outcome AS ended USING (partition_index, order_no)
LEFT JOIN parted
    ON parted.partition_index = op.partition_index AND parted.order_no = op.payment_no
LEFT JOIN (
    SELECT partition_index, order_no, count(*) AS transfer_count,
        sum(amount_minor) FILTER (WHERE kind <> 2) AS shared_minor,
        sum(amount_minor) FILTER (WHERE kind = 2) AS fee_minor
    FROM transfer GROUP BY partition_index, order_no
) AS moved ON moved.partition_index = op.partition_index AND moved.order_no = op.order_no
WHERE ended.status = 5;

-- disputes --
-- Each is of a captured payment, holds its amount (from wallet, kind 1, to hold, 7), and gives it back when it
-- is won (2), or to the PSP (2) when it is lost (3); its events say the same. Of several sellers each gives its
-- share in a step of its own, and has that very share back in one behind all these; what is lost goes in one.
SELECT given.partition_index, given.order_no, CASE
    WHEN o.order_no IS NULL OR stands.order_no IS NULL THEN 'its payment does not exist, or does not stand'
    WHEN given.currency <> o.currency OR given.amount_minor > stands.captured_minor THEN format(
        'is about %s %s of %s captured', given.amount_minor, given.currency, stands.captured_minor)
    WHEN given.psp IS DISTINCT FROM frozen.psp THEN 'is at another PSP than its payment'
    WHEN history.path IS DISTINCT FROM CASE given.status
        WHEN 1 THEN '51' WHEN 2 THEN '51,52' ELSE '51,53' END
        OR history.event_count <> given.event_sequence
        THEN format('stands in state %s, and its events are %s', given.status, history.path)
    WHEN moved.path IS DISTINCT FROM CASE given.status
        WHEN 1 THEN '7:1>7' WHEN 2 THEN '7:1>7,9:7>1' ELSE '7:1>7,8:7>2' END
        THEN format('stands in state %s, and moved %s', given.status, moved.path)
    WHEN moved.taken_minor <> given.amount_minor OR moved.ended_minor <> given.amount_minor
        OR moved.is_shared_otherwise OR NOT moved.is_of_holders
        THEN 'moved another amount, or on accounts of others or of another currency'
    END AS finding
FROM dispute AS given
LEFT JOIN payment_order AS o
    ON o.partition_index = given.partition_index AND o.order_no = given.payment_no
LEFT JOIN payment_standing AS stands
    ON stands.partition_index = given.partition_index AND stands.order_no = given.payment_no
LEFT JOIN order_outcome AS frozen
    ON frozen.partition_index = given.partition_index AND frozen.order_no = given.payment_no
LEFT JOIN LATERAL (
    SELECT string_agg(type::text, ',' ORDER BY sequence) AS path, count(*) AS event_count
    FROM event
    WHERE event.partition_index = given.partition_index AND event.order_no = given.order_no
) AS history ON true
LEFT JOIN LATERAL (
    SELECT string_agg(DISTINCT format('%s:%s>%s', t.kind, debit.kind, credit.kind), ',') AS path,
        sum(t.amount_minor) FILTER (WHERE t.kind = 7) AS taken_minor,
        sum(t.amount_minor) FILTER (WHERE t.kind <> 7) AS ended_minor,
        -- A share that was given back without being the one that was taken, or at no place of its own.
        count(DISTINCT (place.position, t.amount_minor)) FILTER (WHERE t.kind <> 8)
            <> count(*) FILTER (WHERE t.kind = 7) OR NOT bool_and(t.step = place.position + CASE t.kind
                WHEN 7 THEN 1 ELSE place.part_count + 1 END) AS is_shared_otherwise,
        bool_and(CASE t.kind WHEN 7 THEN (debit.holder, credit.holder) = (place.holder, '')
                WHEN 9 THEN (debit.holder, credit.holder) = ('', place.holder)
                ELSE (debit.holder, credit.holder) = ('', frozen.psp) AND place.position = 0 END
            AND t.currency = given.currency
            AND (debit.merchant_no, debit.mode, debit.currency, credit.merchant_no, credit.mode, credit.currency)
                = (o.merchant_no, o.mode, given.currency, o.merchant_no, o.mode, given.currency)) AS is_of_holders
    FROM transfer AS t
    JOIN account AS debit
        ON debit.partition_index = t.partition_index AND debit.account_no = t.debit_account_no
    JOIN account AS credit
        ON credit.partition_index = t.partition_index AND credit.account_no = t.credit_account_no
    CROSS JOIN LATERAL (
        SELECT parts.part_count, (t.step - 1) % parts.part_count AS position, coalesce((
            SELECT seller_no FROM payment_split AS part
            WHERE part.partition_index = o.partition_index AND part.order_no = o.order_no
                AND part.position = (t.step - 1) % parts.part_count), o.seller_no)::text AS holder
        FROM (
            SELECT greatest(count(*), 1) AS part_count FROM payment_split AS part
            WHERE part.partition_index = o.partition_index AND part.order_no = o.order_no
        ) AS parts
    ) AS place
    WHERE t.partition_index = given.partition_index AND t.order_no = given.order_no
) AS moved ON true
UNION ALL
SELECT partition_index, order_no, 'events of a dispute that does not exist'
FROM (SELECT DISTINCT partition_index, order_no FROM event WHERE type >= 50) AS told
LEFT JOIN dispute AS given USING (partition_index, order_no)
WHERE given.status IS NULL;

-- standings --
-- How a payment stands follows from its outcome and the operations that were done; nothing was
-- captured above what was authorized, nor refunded above what was captured, those in flight included.
WITH done AS (
    SELECT op.partition_index, op.payment_no AS order_no, count(*) AS operation_count,
        coalesce(sum(ended.amount_captured_minor) FILTER (WHERE op.kind = 1), 0) AS captured_minor,
        coalesce(sum(ended.amount_captured_minor) FILTER (WHERE op.kind = 3), 0) AS refunded_minor,
        coalesce(sum(ended.amount_captured_minor) FILTER (WHERE op.kind IN (2, 4)), 0)
            AS released_minor,
        coalesce(sum(ended.fee_minor), 0) AS fee_minor,
        coalesce(sum(op.amount_minor) FILTER (WHERE op.kind = 3 AND ended.status IS NULL), 0)
            AS refunding_minor
    FROM operation AS op LEFT JOIN order_outcome AS ended USING (partition_index, order_no)
    GROUP BY op.partition_index, op.payment_no
)
SELECT partition_index, order_no, CASE
    WHEN o.order_no IS NULL THEN 'a standing without its payment'
    WHEN ended.status IS NULL THEN 'stands, and has not ended'
    WHEN stands.status IS NULL THEN 'was authorized, or operated on, and nothing tells how it stands'
    WHEN stands.operation_count <> coalesce(done.operation_count, 0) THEN format(
        'counts %s operations, and has %s', stands.operation_count, coalesce(done.operation_count, 0))
    WHEN stands.captured_minor <> ended.amount_captured_minor + coalesce(done.captured_minor, 0)
        THEN format('captured %s, and its operations come to %s', stands.captured_minor,
            ended.amount_captured_minor + coalesce(done.captured_minor, 0))
    WHEN stands.refunded_minor <> coalesce(done.refunded_minor, 0) THEN format(
        'refunded %s, and its operations come to %s', stands.refunded_minor,
        coalesce(done.refunded_minor, 0))
    WHEN stands.disputed_minor <> (
        SELECT coalesce(sum(given.amount_minor), 0) FROM dispute AS given
        WHERE given.partition_index = stands.partition_index AND given.payment_no = stands.order_no
            AND given.status <> 2)
        THEN format('%s are disputed, and its disputes say otherwise', stands.disputed_minor)
    WHEN stands.captured_minor > o.amount_minor THEN 'captured more than was authorized'
    WHEN stands.refunded_minor + coalesce(done.refunding_minor, 0) > stands.captured_minor
        THEN 'refunds, those in flight included, are above what was captured'
    WHEN stands.fee_taken_minor <> CASE ended.status WHEN 5 THEN ended.fee_minor
        ELSE coalesce(done.fee_minor, 0) END THEN format('took a fee of %s', stands.fee_taken_minor)
    -- Of several sellers each has its own fee (see splits).
    WHEN ended.status = 4 AND stands.fee_taken_minor
        <> div(o.fee_minor::numeric * stands.captured_minor, o.amount_minor)
        AND NOT EXISTS (
            SELECT FROM payment_split AS part
            WHERE part.partition_index = o.partition_index AND part.order_no = o.order_no)
        THEN format('its fee of %s is not its part of %s', stands.fee_taken_minor, o.fee_minor)
    WHEN ended.status <> 4 AND stands.status <> ended.status THEN format(
        'stands in state %s, and ended in state %s', stands.status, ended.status)
    WHEN ended.status = 4 AND stands.status IS DISTINCT FROM CASE
        WHEN coalesce(done.released_minor, 0) = 0 AND stands.captured_minor = 0 THEN 4
        WHEN coalesce(done.released_minor, 0) = 0 AND stands.captured_minor < o.amount_minor THEN 6
        WHEN stands.captured_minor > 0 THEN 5
        WHEN stands.status IN (8, 9) THEN stands.status END
        THEN format('stands in state %s after %s of %s were captured', stands.status,
            stands.captured_minor, o.amount_minor)
    WHEN ended.status = 4 AND done.released_minor > 0
        AND done.released_minor <> o.amount_minor - stands.captured_minor
        THEN format('gave %s back of what was held', done.released_minor)
    END AS finding
FROM payment_standing AS stands
FULL JOIN done USING (partition_index, order_no)
FULL JOIN (
    SELECT partition_index, order_no FROM order_outcome
    JOIN payment_order USING (partition_index, order_no) WHERE status = 4
) AS held USING (partition_index, order_no)
LEFT JOIN payment_order AS o USING (partition_index, order_no)
LEFT JOIN order_outcome AS ended USING (partition_index, order_no);
