-- Checks of `tally verify`: partitions and orders. The form of a check is told in verify.sql.

-- partitions --
SELECT partition_index, CASE
    WHEN held.chain_hash IS NULL THEN 'the partition has no row'
    WHEN wanted.is_ours IS NULL THEN 'the deployment keeps no such partition here'
    WHEN length(held.chain_hash) <> 32 THEN 'the head of its chain is no SHA-256'
    WHEN written.batch_seq_max > held.batch_seq THEN format(
        'rows were written in batch %s, and its last batch is %s',
        written.batch_seq_max, held.batch_seq)
    END AS finding
FROM (
    SELECT generate_series(partition_first, partition_end - 1)::smallint AS partition_index,
           true AS is_ours
    FROM deployment
) AS wanted
FULL JOIN partition AS held USING (partition_index)
LEFT JOIN (
    SELECT partition_index, max(batch_seq) AS batch_seq_max FROM event GROUP BY partition_index
) AS written USING (partition_index);

-- order_numbers --
SELECT * FROM (
    SELECT o.partition_index, o.order_no, CASE
        WHEN o.order_no <> coalesce(lag(o.order_no) OVER in_order, 0) + 1 THEN format(
            'comes after order %s', coalesce(lag(o.order_no) OVER in_order, 0))
        WHEN lead(o.order_no) OVER in_order IS NULL
            AND o.order_no IS DISTINCT FROM held.order_no_last THEN format(
            'is the last one, and its partition counts %s', held.order_no_last)
        END AS finding
    FROM numbered AS o LEFT JOIN partition AS held USING (partition_index)
    WINDOW in_order AS (PARTITION BY o.partition_index ORDER BY o.order_no)
) AS present
UNION ALL
SELECT partition_index, order_no_last, 'the partition counts orders, and holds none'
FROM partition
WHERE order_no_last > 0 AND NOT EXISTS (
    SELECT FROM numbered AS o WHERE o.partition_index = partition.partition_index);

-- orders_are_unique --
-- Grouped anew, because an index can be dropped.
SELECT partition_index, min(order_no) AS order_no, order_uuid::text AS order_uuid, CASE
    WHEN count(*) > 1 THEN format('%s orders have one identity', count(*))
    END AS finding
FROM numbered WHERE order_uuid IS NOT NULL GROUP BY partition_index, order_uuid;

-- order_parties --
SELECT o.partition_index, o.order_no, CASE
    WHEN merchant.merchant_no IS NULL THEN 'its merchant does not exist'
    WHEN seller.seller_no IS NULL THEN 'its seller does not exist'
    WHEN seller.merchant_no <> o.merchant_no OR seller.mode <> o.mode
        THEN 'its seller is of another merchant or mode'
    WHEN o.currency !~ '^[A-Z]{3}$' THEN 'its currency is no code'
    END AS finding
FROM payment_order AS o
LEFT JOIN merchant USING (merchant_no)
LEFT JOIN seller ON seller.seller_no = o.seller_no;

-- splits --
-- The parts of an order are numbered from 0, each another seller's of its merchant, and sum to it. Then what
-- became of each, by its own steps (see transfers_match_outcomes): a capture (kind 4) has a part's share in
-- step 2n - 1 and its fee in step 2n, a refund (6) and a release (5) in step n, a dispute in step n (7), and
-- what it gave back (9) in one behind all these.
SELECT part.partition_index, part.order_no, CASE
    WHEN o.order_no IS NULL THEN 'a part of no order'
    WHEN seller.seller_no IS NULL THEN 'the seller of a part does not exist'
    WHEN seller.merchant_no <> o.merchant_no OR seller.mode <> o.mode
        THEN 'the seller of a part is of another merchant or mode'
    WHEN part.position <> row_number() OVER in_order - 1 THEN 'its parts are not numbered from 0 on without a gap'
    WHEN parted.part_count < 2 THEN 'has one part alone'
    WHEN parted.parts_minor <> o.amount_minor THEN format(
        'its parts sum to %s of %s', parted.parts_minor, o.amount_minor)
    WHEN parted.part_fees_minor <> o.fee_minor THEN format(
        'the fees on its parts sum to %s of %s', parted.part_fees_minor, o.fee_minor)
    WHEN moved.captured_minor > part.amount_minor THEN format(
        'captured %s of a part of %s', moved.captured_minor, part.amount_minor)
    WHEN moved.refunded_minor > moved.captured_minor THEN format(
        'gave back %s of a part of which it captured %s', moved.refunded_minor, moved.captured_minor)
    WHEN moved.fee_minor <> div(part.fee_minor::numeric * moved.captured_minor, part.amount_minor)
        THEN format('took a fee of %s on %s of a part', moved.fee_minor, moved.captured_minor)
    WHEN moved.released_minor NOT IN (0, part.amount_minor - moved.captured_minor) THEN format(
        'gave %s back of what was held of a part', moved.released_minor)
    WHEN moved.disputed_minor < 0 THEN format('won %s more of a part than was disputed', - moved.disputed_minor)
    END AS finding
FROM payment_split AS part
JOIN parted USING (partition_index, order_no)
LEFT JOIN payment_order AS o USING (partition_index, order_no)
LEFT JOIN seller ON seller.seller_no = part.seller_no
CROSS JOIN LATERAL (
    SELECT part.position + 1 AS n, parted.part_count + part.position + 1 AS n_back
) AS step
CROSS JOIN LATERAL (
    SELECT
        coalesce(sum(t.amount_minor) FILTER (WHERE t.kind IN (1, 4) AND t.step = 2 * step.n - 1), 0)
            AS captured_minor,
        coalesce(sum(t.amount_minor) FILTER (WHERE t.kind = 2 AND t.step = 2 * step.n), 0) AS fee_minor,
        coalesce(sum(t.amount_minor) FILTER (WHERE t.kind = 6 AND t.step = step.n), 0) AS refunded_minor,
        coalesce(sum(t.amount_minor) FILTER (WHERE t.kind = 5 AND t.step = step.n), 0) AS released_minor,
        coalesce(sum(t.amount_minor) FILTER (WHERE t.kind = 7 AND t.step = step.n), 0)
            - coalesce(sum(t.amount_minor) FILTER (WHERE t.kind = 9 AND t.step = step.n_back), 0)
            AS disputed_minor
    FROM (
        SELECT part.order_no
        UNION ALL
        SELECT op.order_no FROM operation AS op
        WHERE op.partition_index = part.partition_index AND op.payment_no = part.order_no
        UNION ALL
        SELECT given.order_no FROM dispute AS given
        WHERE given.partition_index = part.partition_index AND given.payment_no = part.order_no
    ) AS moving
    JOIN transfer AS t ON t.partition_index = part.partition_index AND t.order_no = moving.order_no
) AS moved
WINDOW in_order AS (PARTITION BY part.partition_index, part.order_no ORDER BY part.position);

-- order_identities --
-- The parts of each identity. They are hashed outside: the server has no SHA-1. An operation is in its
-- payment's partition, which derives from the payment's identity.
SELECT o.partition_index, o.order_no, uuid_send(o.order_uuid) AS order_uuid,
       coalesce(merchant.merchant_id, '') || '|' || CASE o.mode WHEN 1 THEN 'test' ELSE 'live' END
           || '|' || o.idempotency_key::text AS name,
       NULL::bytea AS payment_uuid
FROM payment_order AS o LEFT JOIN merchant USING (merchant_no)
UNION ALL
SELECT op.partition_index, op.order_no, uuid_send(op.operation_uuid),
       coalesce(o.order_uuid::text, '') || '|'
           || (ARRAY['capture', 'void', 'refund', 'expiry'])[op.kind] || '|'
           || op.idempotency_key::text,
       coalesce(uuid_send(o.order_uuid), ''::bytea)
FROM operation AS op
LEFT JOIN payment_order AS o
    ON o.partition_index = op.partition_index AND o.order_no = op.payment_no;

-- orders_stand_once --
SELECT partition_index, order_no, CASE
    WHEN ended.status IS NULL AND running.status IS NULL THEN 'neither open nor ended'
    WHEN ended.status IS NOT NULL AND running.status IS NOT NULL THEN 'ended, and still open'
    END AS finding
FROM numbered AS o
LEFT JOIN order_outcome AS ended USING (partition_index, order_no)
LEFT JOIN open_order AS running USING (partition_index, order_no)
WHERE o.order_uuid IS NOT NULL
UNION ALL
SELECT partition_index, order_no, 'an outcome without its order'
FROM order_outcome LEFT JOIN numbered AS o USING (partition_index, order_no)
WHERE o.order_uuid IS NULL
UNION ALL
SELECT partition_index, order_no, 'open, and there is no such order'
FROM open_order LEFT JOIN numbered AS o USING (partition_index, order_no)
WHERE o.order_uuid IS NULL
UNION ALL
SELECT partition_index, order_no, 'ended twice'
FROM order_outcome GROUP BY partition_index, order_no HAVING count(*) > 1
UNION ALL
SELECT partition_index, order_no, 'open twice'
FROM open_order GROUP BY partition_index, order_no HAVING count(*) > 1;

-- outcomes_match_orders --
-- Status 4 is authorized, 5 succeeded, 7 failed, 8 canceled, 9 expired. What becomes of an authorized
-- one is the operations' affair (see standings).
SELECT ended.partition_index, ended.order_no, CASE
    WHEN ended.status NOT IN (4, 5, 7, 8, 9) THEN format('ended in state %s, which is no end', ended.status)
    WHEN ended.currency <> o.currency THEN format(
        'ended in %s, and was ordered in %s', ended.currency, o.currency)
    WHEN ended.status = 5 AND ended.amount_captured_minor <> o.amount_minor THEN format(
        'captured %s of %s ordered', ended.amount_captured_minor, o.amount_minor)
    WHEN ended.status <> 5 AND ended.amount_captured_minor <> 0 THEN format(
        'captured %s without success', ended.amount_captured_minor)
    WHEN ended.fee_minor <> o.fee_minor THEN format(
        'its fee is %s, and was accepted as %s', ended.fee_minor, o.fee_minor)
    WHEN tried.psp IS NULL THEN format('ended by attempt %s, which is missing', ended.attempt_no)
    WHEN ended.psp IS DISTINCT FROM tried.psp THEN format(
        'ended at PSP %s, and its attempt was at %s', ended.psp, tried.psp)
    WHEN ended.status IN (4, 5) AND ended.psp_reference IS NULL THEN 'succeeded without a PSP reference'
    WHEN ended.status IN (4, 5) AND (ended.status = 4) <> o.captures_manually
        THEN 'was captured, or only authorized, against what was ordered'
    WHEN (ended.status = 7) <> (ended.failure_code IS NOT NULL)
        THEN 'only a failed order has a failure code'
    END AS finding
FROM order_outcome AS ended
JOIN payment_order AS o USING (partition_index, order_no)
LEFT JOIN attempt AS tried USING (partition_index, order_no, attempt_no);

-- references_are_unique --
-- A PSP's name for a charge is one payment's, whether that has ended or is open; an operation goes by its
-- payment's. Grouped over all partitions; of each group the first payment is the place.
SELECT (min(place) >> 48)::smallint AS partition_index, min(place) & ((1::bigint << 48) - 1) AS order_no, CASE
    WHEN min(place) <> max(place) THEN format('%s payments are %s at PSP %s', count(*), psp_reference, psp)
    END AS finding
FROM (
    SELECT ended.partition_index::bigint << 48 | ended.order_no AS place, ended.psp, ended.psp_reference
    FROM order_outcome AS ended
    WHERE ended.psp_reference IS NOT NULL AND NOT EXISTS (
        SELECT FROM operation AS op
        WHERE op.partition_index = ended.partition_index AND op.order_no = ended.order_no)
    UNION ALL
    SELECT running.partition_index::bigint << 48 | running.order_no, tried.psp, running.psp_reference
    FROM open_order AS running
    JOIN payment_order USING (partition_index, order_no)
    JOIN attempt AS tried USING (partition_index, order_no, attempt_no)
    WHERE running.psp_reference IS NOT NULL
) AS known
GROUP BY psp, psp_reference;

-- transfers_match_outcomes --
-- What a success must have moved: in step 1 the gross from the PSP's receivable (account kind 2) to
-- the seller's wallet (1), in step 2 the fee from there to our income (3), unless it is zero. An
-- authorization holds the gross between the same accounts (kind 3). Of several sellers each has its part, in
-- steps 3 and 4 the second, or in step 2 of an authorization. What operations move is told apart.
-- Each transfer is looked at, then how many each outcome has: so none is missing.
SELECT moved.partition_index, moved.order_no, CASE
    WHEN ended.status IS NULL OR ended.status NOT IN (4, 5) THEN format(
        'a transfer of %s that no success accounts for', moved.amount_minor)
    WHEN moved.step < 1 OR moved.kind <> CASE WHEN ended.status = 4 THEN 3 WHEN place.is_fee THEN 2 ELSE 1 END
        OR CASE WHEN parted.part_count IS NULL THEN place.position > 0 ELSE part.seller_no IS NULL END
        THEN format('step %s of kind %s is none of a success', moved.step, moved.kind)
    WHEN moved.amount_minor <> CASE WHEN ended.status = 4 THEN coalesce(part.amount_minor, o.amount_minor)
        WHEN place.is_fee THEN coalesce(part.fee_minor, ended.fee_minor)
        ELSE coalesce(part.amount_minor, ended.amount_captured_minor) END
        THEN format('moved %s, and the outcome says captured %s, fee %s, of %s parts', moved.amount_minor,
            ended.amount_captured_minor, ended.fee_minor, coalesce(parted.part_count, 1))
    WHEN moved.currency <> ended.currency THEN format(
        'moved %s instead of %s', moved.currency, ended.currency)
    WHEN moved.batch_seq <> ended.batch_seq THEN format(
        'is of batch %s, and its outcome of batch %s', moved.batch_seq, ended.batch_seq)
    WHEN (debit.merchant_no, debit.mode, debit.currency, debit.kind, debit.holder)
        IS DISTINCT FROM (o.merchant_no, o.mode, ended.currency,
            CASE WHEN place.is_fee THEN 1::smallint ELSE 2::smallint END,
            CASE WHEN place.is_fee THEN coalesce(part.seller_no, o.seller_no)::text ELSE ended.psp END)
        THEN format('debits account %s, which is not the one to debit', moved.debit_account_no)
    WHEN (credit.merchant_no, credit.mode, credit.currency, credit.kind, credit.holder)
        IS DISTINCT FROM (o.merchant_no, o.mode, ended.currency,
            CASE WHEN place.is_fee THEN 3::smallint ELSE 1::smallint END,
            CASE WHEN place.is_fee THEN '' ELSE coalesce(part.seller_no, o.seller_no)::text END)
        THEN format('credits account %s, which is not the one to credit', moved.credit_account_no)
    END AS finding
FROM transfer AS moved
LEFT JOIN numbered AS op USING (partition_index, order_no)
LEFT JOIN order_outcome AS ended USING (partition_index, order_no)
LEFT JOIN payment_order AS o USING (partition_index, order_no)
LEFT JOIN parted USING (partition_index, order_no)
CROSS JOIN LATERAL (
    SELECT CASE WHEN ended.status = 4 THEN moved.step - 1 ELSE (moved.step - 1) / 2 END AS position,
        ended.status = 5 AND moved.step % 2 = 0 AS is_fee
) AS place
LEFT JOIN payment_split AS part ON part.partition_index = moved.partition_index
    AND part.order_no = moved.order_no AND part.position = place.position
LEFT JOIN account AS debit
    ON debit.partition_index = moved.partition_index AND debit.account_no = moved.debit_account_no
LEFT JOIN account AS credit
    ON credit.partition_index = moved.partition_index AND credit.account_no = moved.credit_account_no
WHERE op.operation_kind IS NULL
UNION ALL
SELECT partition_index, order_no, CASE
    WHEN coalesce(moved.transfer_count, 0) <> expected.transfer_count THEN format(
        'succeeded with %s transfers instead of %s',
        coalesce(moved.transfer_count, 0), expected.transfer_count)
    END
FROM order_outcome AS ended
JOIN payment_order AS o USING (partition_index, order_no)
LEFT JOIN parted USING (partition_index, order_no)
CROSS JOIN LATERAL (
    SELECT coalesce(parted.part_count, 1) + CASE ended.status WHEN 5
        THEN coalesce(parted.part_fee_count, (ended.fee_minor > 0)::integer) ELSE 0 END AS transfer_count
) AS expected
LEFT JOIN (
    SELECT partition_index, order_no, count(*) AS transfer_count
    FROM transfer GROUP BY partition_index, order_no
) AS moved USING (partition_index, order_no)
WHERE ended.status IN (4, 5);

-- attempts --
-- Each under the key that derives from its order, at a PSP of the configuration ($1); then numbered
-- without a gap, the last one being where the order stands.
SELECT partition_index, order_no, CASE
    WHEN o.order_uuid IS NULL THEN 'an attempt without its order'
    WHEN tried.psp_key <> 'tly_' || pg_temp.letters(encode(uuid_send(o.order_uuid), 'hex'))
        || '_' || pg_temp.letters(to_hex(tried.attempt_no::integer))
        THEN format('the PSP key of attempt %s is not the one of its order', tried.attempt_no)
    WHEN tried.epoch < 1 OR tried.epoch > held.epoch THEN format(
        'attempt %s was made under epoch %s, which its partition never had', tried.attempt_no, tried.epoch)
    WHEN tried.psp <> ALL ($1::text[]) THEN format(
        'went to PSP %s, which is not configured and can''t be asked', tried.psp)
    END AS finding
FROM attempt AS tried
LEFT JOIN numbered AS o USING (partition_index, order_no)
LEFT JOIN partition AS held USING (partition_index)
UNION ALL
SELECT partition_index, order_no, CASE
    -- An operation that waits for its turn, or that the books refused, has none.
    WHEN tried.attempt_count IS NULL AND o.operation_kind IS NOT NULL
        AND coalesce(ended.attempt_no, running.attempt_no, 0) = 0 THEN NULL
    WHEN tried.attempt_count IS NULL THEN 'an order without an attempt'
    WHEN tried.attempt_no_min <> 1 OR tried.attempt_no_max <> tried.attempt_count
        THEN 'attempts are not numbered from 1 on without a gap'
    WHEN tried.attempt_no_max <> coalesce(ended.attempt_no, running.attempt_no) THEN format(
        'stands at attempt %s, and has %s', coalesce(ended.attempt_no, running.attempt_no),
        tried.attempt_no_max)
    END
FROM numbered AS o
LEFT JOIN (
    SELECT partition_index, order_no, count(*) AS attempt_count, min(attempt_no) AS attempt_no_min,
           max(attempt_no) AS attempt_no_max
    FROM attempt GROUP BY partition_index, order_no
) AS tried USING (partition_index, order_no)
LEFT JOIN order_outcome AS ended USING (partition_index, order_no)
LEFT JOIN open_order AS running USING (partition_index, order_no);

-- events --
-- A history is numbered from 1, is a path of the life cycle (1 created, 2 action required,
-- 3 resumed, then at most one end; 4 authorized, then 6 captured in part, and one end), and leads to
-- where the order stands. Operations have their own (see operations).
SELECT partition_index, order_no, CASE
    WHEN o.order_uuid IS NULL THEN 'events without their order'
    WHEN history.path IS NULL THEN 'an order without events'
    WHEN history.sequence_min <> 1 OR history.sequence_max <> history.event_count
        THEN 'events are not numbered from 1 on without a gap'
    WHEN history.path !~ '^1(23)*2?([5789]|4(6*5?|8|9))?$' THEN format(
        'events %s are no path of the life cycle', history.path)
    WHEN coalesce(stands.event_sequence, ended.event_sequence) <> history.sequence_max THEN format(
        'ended with event %s, and has %s', coalesce(stands.event_sequence, ended.event_sequence),
        history.sequence_max)
    WHEN right(history.path, 1) <> coalesce(stands.status, ended.status)::text THEN format(
        'stands in state %s, and its last event is %s', coalesce(stands.status, ended.status),
        right(history.path, 1))
    WHEN substr(history.path, ended.event_sequence, 1) <> ended.status::text THEN format(
        'ended in state %s by event %s, which is %s', ended.status, ended.event_sequence,
        substr(history.path, ended.event_sequence, 1))
    WHEN stands.status IS NULL AND ended.batch_seq <> history.batch_seq_max THEN format(
        'ended in batch %s, and its events go up to batch %s', ended.batch_seq, history.batch_seq_max)
    WHEN running.status = 2 AND history.path !~ '[13]$' OR running.status = 3 AND history.path !~ '2$'
        OR running.status NOT IN (2, 3) THEN format(
        'stands in state %s after events %s', running.status, history.path)
    END AS finding
FROM payment_order AS o
FULL JOIN (
    SELECT partition_index, order_no, count(*) AS event_count, min(sequence) AS sequence_min,
           max(sequence) AS sequence_max, max(batch_seq) AS batch_seq_max,
           string_agg(type::text, '' ORDER BY sequence) AS path
    FROM event WHERE type < 10 GROUP BY partition_index, order_no
) AS history USING (partition_index, order_no)
LEFT JOIN order_outcome AS ended USING (partition_index, order_no)
LEFT JOIN payment_standing AS stands USING (partition_index, order_no)
LEFT JOIN open_order AS running USING (partition_index, order_no);

-- timers --
SELECT timer.partition_index, timer.order_no, CASE
    WHEN timer.kind = 5 AND (running.status IS NOT NULL OR stands.status IS NULL
        OR stands.status NOT IN (4, 6)) THEN 'the timer of an authorization, and nothing is held'
    WHEN timer.kind <> 5 AND running.status IS NULL THEN 'a timer of an order that is not open'
    WHEN timer.kind NOT IN (1, 2, 3, 4, 5) THEN format('a timer of the unknown kind %s', timer.kind)
    -- No step waits for longer than an hour, a buyer's action for a day, an authorization some days.
    WHEN timer.due_at > statement_timestamp() + interval '30 days'
        THEN format('a timer that is due only at %s', timer.due_at)
    END AS finding
FROM timer
LEFT JOIN open_order AS running USING (partition_index, order_no)
LEFT JOIN payment_standing AS stands USING (partition_index, order_no)
UNION ALL
SELECT partition_index, order_no, CASE
    WHEN timer.kind IS NULL THEN 'something is held, and no timer gives it back'
    END
FROM payment_standing AS stands LEFT JOIN timer USING (partition_index, order_no)
WHERE stands.status IN (4, 6);

-- refused_requests --
SELECT refused.partition_index, o.order_no, refused.order_uuid::text AS order_uuid, CASE
    WHEN o.order_no IS NULL AND aside.order_uuid IS NULL AND op.order_no IS NULL
        AND c.checkout_uuid IS NULL
        THEN 'refused because of an order that does not exist'
    WHEN coalesce(o.fingerprint, op.fingerprint, aside.fingerprint, c.fingerprint)
        = refused.fingerprint
        THEN 'refused, and its order has the same fingerprint'
    END AS finding
FROM refused_request AS refused
LEFT JOIN payment_order AS o
    ON o.order_uuid = refused.order_uuid AND o.partition_index = refused.partition_index
LEFT JOIN operation AS op
    ON op.operation_uuid = refused.order_uuid AND op.partition_index = refused.partition_index
LEFT JOIN set_aside_order AS aside
    ON aside.order_uuid = refused.order_uuid AND aside.partition_index = refused.partition_index
LEFT JOIN checkout AS c
    ON c.checkout_uuid = refused.order_uuid AND c.partition_index = refused.partition_index;

-- checkouts --
-- An order that another request had taken under the same id is not the checkout's: its fingerprint says so.
SELECT c.partition_index, CASE
    WHEN placed.order_count = 0 THEN 'a checkout without orders'
    WHEN placed.position_last <> placed.order_count - 1 THEN 'a checkout whose orders have a gap'
    WHEN placed.uuid_count <> placed.order_count THEN 'a checkout with an order twice'
    WHEN placed.odd_uuid IS NOT NULL
        THEN format('a checkout asks for another order than %s is', placed.odd_uuid)
    END AS finding
FROM checkout AS c CROSS JOIN LATERAL (
    SELECT count(*) AS order_count, max(wanted.position) AS position_last,
        count(DISTINCT wanted.order_uuid) AS uuid_count,
        min(o.order_uuid::text) FILTER (
            WHERE o.order_no IS NOT NULL AND (o.idempotency_key, o.merchant_no, o.mode, o.seller_no, o.amount_minor, o.currency)
            IS DISTINCT FROM (wanted.idempotency_key, c.merchant_no, c.mode, wanted.seller_no,
                wanted.amount_minor, wanted.currency)
        ) AS odd_uuid
    FROM checkout_order AS wanted
    LEFT JOIN payment_order AS o
        ON o.order_uuid = wanted.order_uuid AND o.fingerprint = wanted.fingerprint
    WHERE wanted.partition_index = c.partition_index AND wanted.checkout_uuid = c.checkout_uuid
) AS placed;

-- set_aside_orders --
-- An order or operation that was set aside waits, or has failed (its letter discarded, result 2), or was taken in.
-- One that a repeat had brought before its letter was discarded goes on: only the letter is closed. Both times
-- are those of one partition's flushes, which follow each other, and no flush does both.
SELECT aside.partition_index, coalesce(o.order_no, op.order_no) AS order_no, aside.order_uuid::text AS order_uuid, CASE
    WHEN letter.dead_letter_no IS NULL THEN 'set aside without its letter'
    WHEN letter.order_uuid IS DISTINCT FROM aside.order_uuid
        OR letter.partition_index <> aside.partition_index
        THEN format('its letter %s is of another order', aside.dead_letter_no)
    WHEN letter.merchant_no IS DISTINCT FROM aside.merchant_no
        OR letter.mode IS DISTINCT FROM aside.mode
        THEN format('its letter %s names another merchant or mode', aside.dead_letter_no)
    WHEN ended.discarded_at <= coalesce(o.taken_in_at, op.taken_in_at)
        THEN 'discarded, and taken in all the same'
    WHEN ended.is_replayed AND coalesce(o.order_no, op.order_no) IS NULL THEN 'replayed, and not in the books'
    WHEN ended.is_replayed AND ended.discarded_at IS NOT NULL THEN 'replayed, and discarded'
    END AS finding
FROM set_aside_order AS aside
LEFT JOIN dead_letter AS letter USING (dead_letter_no)
LEFT JOIN payment_order AS o
    ON o.order_uuid = aside.order_uuid AND o.partition_index = aside.partition_index
LEFT JOIN operation AS op
    ON op.operation_uuid = aside.order_uuid AND op.partition_index = aside.partition_index
LEFT JOIN LATERAL (
    SELECT coalesce(bool_or(result = 1), false) AS is_replayed,
        min(recorded_at) FILTER (WHERE result = 2) AS discarded_at
    FROM dead_letter_result WHERE dead_letter_result.dead_letter_no = aside.dead_letter_no
) AS ended ON true;

-- letter_actions --
-- What was done with a letter was wanted by somebody, is audited, and was done once.
SELECT wanted.partition_index, NULL::bigint AS order_no, wanted.dead_letter_no, CASE
    WHEN letter.dead_letter_no IS NULL THEN 'an action on a letter that does not exist'
    WHEN letter.partition_index <> wanted.partition_index
        THEN format('its letter is in partition %s', letter.partition_index)
    WHEN NOT EXISTS (
        SELECT FROM audit
        WHERE audit.subject = wanted.dead_letter_no::text AND audit.actor = wanted.actor
            AND audit.action = CASE wanted.action
                WHEN 1 THEN 'dead_letter.replay' ELSE 'dead_letter.discard' END
            AND audit.detail ->> 'action_no' = wanted.action_no::text
            AND audit.detail ->> 'reason' = wanted.reason)
        THEN format('action %s is not in the audit as it was wanted', wanted.action_no)
    WHEN ended.result IN (1, 2) AND ended.result <> wanted.action THEN format(
        'action %s was wanted, and another one was done', wanted.action_no)
    WHEN ended.dead_letter_no <> wanted.dead_letter_no
        OR ended.partition_index <> wanted.partition_index
        THEN format('the result of action %s is of another letter', wanted.action_no)
    WHEN ended.batch_seq > held.batch_seq THEN format(
        'done in batch %s, and its partition''s last one is %s', ended.batch_seq, held.batch_seq)
    WHEN ended.action_no IS NULL AND waiting.action_no IS NULL
        THEN format('action %s has no result, and does not wait for one', wanted.action_no)
    WHEN ended.action_no IS NOT NULL AND waiting.action_no IS NOT NULL
        THEN format('action %s has a result, and waits for one', wanted.action_no)
    END AS finding
FROM dead_letter_action AS wanted
LEFT JOIN dead_letter AS letter USING (dead_letter_no)
LEFT JOIN dead_letter_result AS ended USING (action_no)
LEFT JOIN dead_letter_pending AS waiting USING (action_no)
LEFT JOIN partition AS held ON held.partition_index = wanted.partition_index
UNION ALL
SELECT ended.partition_index, NULL, ended.dead_letter_no, 'a result that nobody had wanted'
FROM dead_letter_result AS ended LEFT JOIN dead_letter_action AS wanted USING (action_no)
WHERE wanted.action_no IS NULL
UNION ALL
SELECT min(partition_index), NULL, dead_letter_no, 'replayed or discarded more than once'
FROM dead_letter_result WHERE result IN (1, 2) GROUP BY dead_letter_no HAVING count(*) > 1;

-- parked_orders --
SELECT partition_index, order_no, CASE
    WHEN running.status IS NULL THEN 'parked, and not open'
    WHEN next_step.kind IS NOT NULL THEN 'parked, and has a timer'
    END AS finding
FROM parked_order
LEFT JOIN open_order AS running USING (partition_index, order_no)
LEFT JOIN timer AS next_step USING (partition_index, order_no);
