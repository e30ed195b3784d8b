-- What an owner reads besides its open orders.

-- known_orders --
-- Nearly always nothing is found, and what the statement is made of is set up once for each flush: so of
-- orders set aside it only tells that there are some, and set_aside_orders tells the rest.
SELECT payment_order.order_uuid, payment_order.fingerprint, false AS is_set_aside
FROM unnest($1::smallint[], $2::uuid[]) AS wanted (partition_index, order_uuid)
JOIN payment_order
    ON payment_order.partition_index = wanted.partition_index
    AND payment_order.order_uuid = wanted.order_uuid
UNION ALL
SELECT aside.order_uuid, NULL, true
FROM unnest($1::smallint[], $2::uuid[]) AS wanted (partition_index, order_uuid)
JOIN set_aside_order AS aside
    ON aside.partition_index = wanted.partition_index AND aside.order_uuid = wanted.order_uuid;

-- set_aside_orders --
-- Those that were set aside and not taken in since, each with its letter; of operations only these. Held: no message of the
-- stream takes such an order in any more, because it was discarded, or because it ended its host.
SELECT aside.order_uuid, aside.fingerprint, aside.dead_letter_no,
    EXISTS (SELECT FROM dead_letter AS letter
            WHERE letter.dead_letter_no = aside.dead_letter_no AND letter.reason = 'kills_host')
    OR EXISTS (SELECT FROM dead_letter_result AS ended
               WHERE ended.dead_letter_no = aside.dead_letter_no AND ended.result = 2) AS is_held
FROM unnest($1::smallint[], $2::uuid[]) AS wanted (partition_index, order_uuid)
JOIN set_aside_order AS aside
    ON aside.partition_index = wanted.partition_index AND aside.order_uuid = wanted.order_uuid
WHERE NOT EXISTS (
    SELECT FROM payment_order
    WHERE payment_order.partition_index = aside.partition_index
        AND payment_order.order_uuid = aside.order_uuid)
AND NOT EXISTS (
    SELECT FROM operation
    WHERE operation.partition_index = aside.partition_index
        AND operation.operation_uuid = aside.order_uuid);

-- operated_payments --
-- Operations that came ($2, of payments $3) and payments by their numbers ($4): what was taken in
-- before, and how each payment stands. One that has not ended has no outcome, and no standing.
SELECT wanted.operation_uuid, op.fingerprint AS known_fingerprint,
    o.partition_index, o.order_no, o.order_uuid, o.idempotency_key, o.merchant_no, o.mode,
    o.seller_no, o.amount_minor, o.currency, o.fee_minor, o.captures_manually,
    coalesce(d.psp, '') AS psp, coalesce(tried.psp_account, '') AS psp_account, d.psp_reference,
    coalesce(stands.status, d.status, running.status) AS status,
    coalesce(stands.captured_minor, d.amount_captured_minor, 0) AS captured_minor,
    coalesce(stands.refunded_minor, 0) AS refunded_minor,
    coalesce(stands.fee_taken_minor, CASE d.status WHEN 5 THEN d.fee_minor END, 0) AS fee_taken_minor,
    coalesce(stands.disputed_minor, 0) AS disputed_minor,
    coalesce(stands.event_sequence, d.event_sequence, 0) AS event_sequence,
    coalesce(stands.operation_count, 0) AS operation_count,
    parked.parked_refund_minor, parked.parked_capture_minor, parked.is_turn_parked, disputed.disputes,
    parts.splits
FROM unnest($1::smallint[], $2::uuid[], $3::uuid[], $4::bigint[])
    AS wanted (partition_index, operation_uuid, payment_uuid, payment_no)
LEFT JOIN LATERAL (
    SELECT fingerprint FROM operation
    WHERE operation.operation_uuid = wanted.operation_uuid
        AND operation.partition_index = wanted.partition_index LIMIT 1
) AS op ON true
CROSS JOIN LATERAL (
    SELECT coalesce(wanted.payment_no, (
        SELECT order_no FROM payment_order
        WHERE payment_order.order_uuid = wanted.payment_uuid
            AND payment_order.partition_index = wanted.partition_index)) AS payment_no
) AS named
JOIN LATERAL (
    SELECT * FROM payment_order
    WHERE payment_order.partition_index = wanted.partition_index
        AND payment_order.order_no = named.payment_no LIMIT 1
) AS o ON true
LEFT JOIN LATERAL (
    SELECT * FROM order_outcome
    WHERE order_outcome.partition_index = o.partition_index
        AND order_outcome.order_no = o.order_no LIMIT 1
) AS d ON true
LEFT JOIN LATERAL (
    SELECT psp_account FROM attempt
    WHERE attempt.partition_index = o.partition_index AND attempt.order_no = o.order_no
        AND attempt.attempt_no = d.attempt_no LIMIT 1
) AS tried ON true
LEFT JOIN LATERAL (
    SELECT status FROM open_order
    WHERE open_order.partition_index = o.partition_index
        AND open_order.order_no = o.order_no LIMIT 1
) AS running ON true
LEFT JOIN LATERAL (
    SELECT * FROM payment_standing
    WHERE payment_standing.partition_index = o.partition_index
        AND payment_standing.order_no = o.order_no LIMIT 1
) AS stands ON true
-- Hardly ever any: what ends its host's process is not in its owner's memory, and may have run.
CROSS JOIN LATERAL (
    SELECT sum(stuck.amount_minor) FILTER (WHERE stuck.kind = 3) AS parked_refund_minor,
        sum(stuck.amount_minor) FILTER (WHERE stuck.kind = 1) AS parked_capture_minor,
        bool_or(stuck.kind <> 3) AS is_turn_parked
    FROM parked_order JOIN operation AS stuck USING (partition_index, order_no)
    WHERE parked_order.partition_index = o.partition_index AND stuck.payment_no = o.order_no
) AS parked
CROSS JOIN LATERAL (
    SELECT jsonb_agg(jsonb_build_array(dispute.order_no, dispute.reference, dispute.status,
        dispute.amount_minor, dispute.event_sequence, shared.shares_minor)
        ORDER BY dispute.order_no)::text AS disputes
    FROM dispute
    -- What it took of each part: by a step of its own each, none where it took nothing (payments.transfers).
    CROSS JOIN LATERAL (
        SELECT coalesce(jsonb_agg(coalesce(took.amount_minor, 0) ORDER BY split.position), '[]')
            AS shares_minor
        FROM payment_split AS split
        LEFT JOIN transfer AS took ON took.partition_index = o.partition_index
            AND took.order_no = dispute.order_no AND took.step = split.position + 1 AND took.kind = 7
        WHERE split.partition_index = o.partition_index AND split.order_no = o.order_no
    ) AS shared
    WHERE dispute.partition_index = o.partition_index AND dispute.payment_no = o.order_no
) AS disputed
-- How each seller's part stands: what the payment's own transfers, its operations' and its disputes' moved of
-- it. A part's steps are always the same ones: 2n - 1 and 2n where fees go along, else n, and behind all these
-- for what a won dispute gives back. Without splits nothing is read here.
CROSS JOIN LATERAL (
    SELECT jsonb_agg(jsonb_build_array(split.seller_no, split.amount_minor, split.fee_minor,
        moved.captured_minor, moved.refunded_minor, moved.disputed_minor, moved.fee_taken_minor)
        ORDER BY split.position)::text AS splits
    FROM (
        SELECT *, position + 1 AS n, count(*) OVER () AS part_count FROM payment_split
        WHERE payment_split.partition_index = o.partition_index
            AND payment_split.order_no = o.order_no
    ) AS split
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(t.amount_minor) FILTER (
                WHERE t.kind IN (1, 4) AND t.step = 2 * split.n - 1), 0) AS captured_minor,
            coalesce(sum(t.amount_minor) FILTER (
                WHERE t.kind = 6 AND t.step = split.n), 0) AS refunded_minor,
            coalesce(sum(CASE t.kind WHEN 7 THEN t.amount_minor ELSE - t.amount_minor END) FILTER (
                WHERE t.kind = 7 AND t.step = split.n
                    OR t.kind = 9 AND t.step = split.part_count + split.n), 0) AS disputed_minor,
            coalesce(sum(t.amount_minor) FILTER (
                WHERE t.kind = 2 AND t.step = 2 * split.n), 0) AS fee_taken_minor
        FROM (
            SELECT o.order_no
            UNION ALL
            SELECT operation.order_no FROM operation
            WHERE operation.partition_index = o.partition_index AND operation.payment_no = o.order_no
            UNION ALL
            SELECT dispute.order_no FROM dispute
            WHERE dispute.partition_index = o.partition_index AND dispute.payment_no = o.order_no
        ) AS moving
        JOIN transfer AS t ON t.partition_index = o.partition_index
            AND t.order_no = moving.order_no
    ) AS moved
) AS parts;

-- pending_actions --
-- By a table that holds nothing but these: the actions themselves are kept for ever. One a letter, so
-- that a replay and a discard of the same letter are never decided together.
SELECT min(wanted.action_no) AS action_no, wanted.dead_letter_no
FROM dead_letter_pending AS waiting JOIN dead_letter_action AS wanted USING (action_no)
WHERE waiting.partition_index = ANY ($1::smallint[])
    AND NOT EXISTS (SELECT FROM dead_letter_result AS ended WHERE ended.action_no = wanted.action_no)
GROUP BY wanted.dead_letter_no
ORDER BY 1
LIMIT $2;

-- letters_of_actions --
SELECT wanted.action_no, wanted.dead_letter_no, wanted.partition_index, wanted.action,
    letter.stream_id, letter.raw_envelope,
    EXISTS (SELECT FROM dead_letter_result AS ended
            WHERE ended.dead_letter_no = wanted.dead_letter_no AND ended.result IN (1, 2)) AS is_closed
FROM dead_letter_action AS wanted JOIN dead_letter AS letter USING (dead_letter_no)
WHERE wanted.action_no = ANY ($1::bigint[])
ORDER BY wanted.action_no;

-- pending_evidence --
-- By a table that holds nothing but these: the evidence itself is kept for ever.
SELECT evidence_no, evidence.partition_index, order_no, attempt_no, source, result, reference,
    captured_minor, currency, effective_at
FROM evidence_pending AS waiting JOIN evidence USING (evidence_no)
WHERE waiting.partition_index = ANY ($1::smallint[])
ORDER BY evidence_no
LIMIT $2;

-- due_psp_events --
-- Events whose turn it is, the longest due first, with what the books hold of their orders or operations. They are
-- postponed in the same statement, so that those that can't be judged yet make room for others: each
-- time for twice as long, up to 4 s where the order is here, and up to 15 min where it is not: orders are
-- written before their calls, so it hardly ever comes, and ten thousands may wait. One whose
-- result is being written is passed over: waiting for that flush could only tell what is no more.
WITH due AS MATERIALIZED (
    SELECT waiting.partition_index, waiting.event_uuid, waiting.look_count
    FROM psp_event_pending AS waiting
    WHERE waiting.partition_index = ANY ($1::smallint[]) AND waiting.due_at <= statement_timestamp()
    ORDER BY waiting.due_at
    LIMIT $2
    FOR UPDATE SKIP LOCKED
), found AS MATERIALIZED (
    SELECT due.partition_index, due.look_count, event.event_uuid, event.psp, event.event_id,
        event.order_uuid, event.attempt_no, event.result, event.reference, event.captured_minor,
        event.currency, event.failure_code, event.decline_code, event.message, event.effective_at,
        event.accepted_at, event.dispute_id, event.dispute_state, event.disputed_minor, named.order_no,
        tried.psp AS attempt_psp, ended.status AS ended_status,
        ended.attempt_no AS ended_attempt_no, ended.amount_captured_minor AS ended_captured_minor,
        ended.currency AS ended_currency, ended.psp_reference AS ended_reference,
        event.recorded_at + $3::double precision * interval '1 second' < statement_timestamp()
            AS is_overdue
    FROM due
    JOIN psp_event AS event
        ON event.partition_index = due.partition_index AND event.event_uuid = due.event_uuid
    LEFT JOIN payment_order AS o
        ON o.partition_index = event.partition_index AND o.order_uuid = event.order_uuid
    LEFT JOIN operation AS op
        ON op.partition_index = event.partition_index AND op.operation_uuid = event.order_uuid
    CROSS JOIN LATERAL (SELECT coalesce(o.order_no, op.order_no) AS order_no) AS named
    LEFT JOIN attempt AS tried
        ON tried.partition_index = event.partition_index AND tried.order_no = named.order_no
        AND tried.attempt_no = event.attempt_no
    LEFT JOIN order_outcome AS ended
        ON ended.partition_index = event.partition_index AND ended.order_no = named.order_no
), postponed AS (
    UPDATE psp_event_pending AS waiting
    SET look_count = least(found.look_count + 1, 10),
        due_at = statement_timestamp() + interval '1 second' * least(
            power(2, found.look_count), CASE WHEN found.order_no IS NULL THEN 900 ELSE 4 END)
    FROM found
    WHERE waiting.partition_index = found.partition_index
        AND waiting.event_uuid = found.event_uuid
)
SELECT * FROM found ORDER BY accepted_at, event_uuid;

-- letter_overrides --
-- The value is for how many seconds it holds.
SELECT substr(key, length('accept_dead_letters:') + 1)::integer AS partition_index
FROM intent
WHERE key ~ '^accept_dead_letters:[0-9]{1,5}$' AND jsonb_typeof(value) = 'number'
    AND updated_at + value::text::double precision * interval '1 second' > statement_timestamp();

-- account_heads --
SELECT wanted.position, account.account_no, slice.version, slice.debits_posted_minor,
    slice.credits_posted_minor, slice.debits_pending_minor, slice.credits_pending_minor
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

-- note_paused --
-- Tells people which of an owner's partitions ($1) take nothing in ($2).
UPDATE partition
SET intake_paused_at = CASE WHEN partition_index = ANY ($2::smallint[]) THEN now() END
WHERE partition_index = ANY ($1::smallint[])
    AND (intake_paused_at IS NOT NULL) <> (partition_index = ANY ($2::smallint[]));
