-- The flush: one statement between BEGIN and COMMIT.
--
-- Sessions that run it plan with nested loops over indexes alone (storage/lane.py): the rows that it
-- brings have no statistics, and a plan is made once.

-- flush_members --
-- The types of what a flush sends, in this database.
SELECT member.atttypid::bigint AS array_oid, of_array.typelem::bigint AS element_oid
FROM pg_catalog.pg_attribute AS member
JOIN pg_catalog.pg_type AS of_array ON of_array.oid = member.atttypid
WHERE member.attrelid = 'flush_books'::regclass AND member.attnum > 0
ORDER BY member.attnum;

-- write_flush --
-- $1 names the partitions; $2 are the rows, one array of each kind (storage/flush_packing.py).
--
-- The fence comes first: `gate` reads it to its end, and every other part reads `gate` before its
-- rows. Locks are taken in the order of the partitions, so that two flushes can't wait for each
-- other. A stale owner, and a flush that was written already, passes with fewer partitions than it
-- named: then the gate is shut, nothing else is written, and the owner rolls back. All rows are with
-- the server before the first lock is taken, so that none is held while they travel.
--
-- Parts don't see each other's rows. So a new account's slice (new_slices) is inserted with what the
-- flush posts to it, and the others (posted) are updated. A new order is open, known and at its first attempt
-- (status 2 = processing). The caller compares the counts with what it sent: an order that is not
-- open, or a slice at another version, is a defect.
WITH locked AS MATERIALIZED (
    SELECT partition_index FROM partition WHERE partition_index = ANY ($1::smallint[])
    ORDER BY partition_index FOR UPDATE
), fenced AS (
    UPDATE partition
    SET batch_seq = head.batch_seq_before + 1, order_no_last = head.order_no_last,
        account_no_last = head.account_no_last, chain_hash = head.chain_hash
    FROM locked JOIN unnest(($2::packed_flush).heads) AS head USING (partition_index)
    WHERE partition.partition_index = locked.partition_index
        AND partition.epoch = head.epoch AND partition.batch_seq = head.batch_seq_before
    RETURNING partition.partition_index
), gate AS MATERIALIZED (
    SELECT count(*) = cardinality($1::smallint[]) AS is_open FROM fenced
), orders AS (
    INSERT INTO payment_order (partition_index, order_no, order_uuid, idempotency_key,
        merchant_no, mode, seller_no, amount_minor, currency, fee_minor, fingerprint, metadata,
        api_version, accepted_at, captures_manually)
    SELECT partition_index, order_no, order_uuid, idempotency_key, merchant_no, mode, seller_no,
        amount_minor, currency, fee_minor, fingerprint, metadata_json::jsonb, api_version,
        accepted_at, captures_manually
    FROM unnest(($2::packed_flush).orders) WHERE (SELECT is_open FROM gate)
), opened AS (
    INSERT INTO open_order (partition_index, order_no, status, is_outcome_known, attempt_no,
        try_count)
    SELECT partition_index, order_no, 2, true, 1, 0
    FROM unnest(($2::packed_flush).orders) WHERE (SELECT is_open FROM gate)
), personal AS (
    INSERT INTO personal_data (partition_index, order_no, part, envelope)
    SELECT partition_index, order_no, part, envelope
    FROM unnest(($2::packed_flush).personal) WHERE (SELECT is_open FROM gate)
), attempts AS (
    INSERT INTO attempt (partition_index, order_no, attempt_no, psp, psp_account, psp_key, epoch)
    SELECT partition_index, order_no, attempt_no, psp, psp_account, psp_key, epoch
    FROM unnest(($2::packed_flush).attempts) WHERE (SELECT is_open FROM gate)
), progressed AS (
    UPDATE open_order
    SET status = now.status, is_outcome_known = now.is_outcome_known,
        attempt_no = now.attempt_no, try_count = now.try_count,
        psp_reference = now.psp_reference, next_action_url = now.next_action_url,
        action_expires_at = now.action_expires_at, next_retry_at = now.next_retry_at,
        parked_reason = now.parked_reason
    FROM unnest(($2::packed_flush).progress) AS now
    WHERE (SELECT is_open FROM gate)
        AND open_order.partition_index = now.partition_index AND open_order.order_no = now.order_no
    RETURNING 1
), timed AS (
    INSERT INTO timer (partition_index, order_no, kind, due_at)
    SELECT partition_index, order_no, kind, clock_timestamp() + delay_ms * interval '1 millisecond'
    FROM unnest(($2::packed_flush).timers) WHERE (SELECT is_open FROM gate)
    ON CONFLICT (partition_index, order_no) DO UPDATE SET kind = excluded.kind,
        due_at = excluded.due_at
), outcomes AS (
    INSERT INTO order_outcome (partition_index, order_no, batch_seq, status,
        amount_captured_minor, fee_minor, currency, attempt_no, psp, psp_reference, failure_code,
        decline_code, failure_message, effective_at, event_sequence)
    SELECT partition_index, order_no, batch_seq, status, amount_captured_minor, fee_minor, currency,
        attempt_no, psp, psp_reference, failure_code, decline_code, failure_message, effective_at,
        event_sequence
    FROM unnest(($2::packed_flush).outcomes) WHERE (SELECT is_open FROM gate)
), closed AS (
    DELETE FROM open_order USING unnest(($2::packed_flush).outcomes) AS ended
    WHERE (SELECT is_open FROM gate)
        AND open_order.partition_index = ended.partition_index
        AND open_order.order_no = ended.order_no
    RETURNING 1
), quieted AS (
    DELETE FROM timer USING unnest(($2::packed_flush).outcomes) AS ended
    WHERE (SELECT is_open FROM gate)
        AND timer.partition_index = ended.partition_index AND timer.order_no = ended.order_no
), transfers AS (
    INSERT INTO transfer (partition_index, order_no, step, batch_seq, kind, debit_account_no,
        credit_account_no, amount_minor, currency)
    SELECT partition_index, order_no, step, batch_seq, kind, debit_account_no, credit_account_no,
        amount_minor, currency
    FROM unnest(($2::packed_flush).transfers) WHERE (SELECT is_open FROM gate)
), accounts AS (
    INSERT INTO account (partition_index, account_no, merchant_no, mode, kind, holder, currency)
    SELECT partition_index, account_no, merchant_no, mode, kind, holder, currency
    FROM unnest(($2::packed_flush).accounts) WHERE (SELECT is_open FROM gate)
), sliced AS (
    UPDATE slice
    SET version = slice.version + posted.transfer_count,
        debits_posted_minor = slice.debits_posted_minor + posted.debits_posted_minor,
        credits_posted_minor = slice.credits_posted_minor + posted.credits_posted_minor,
        debits_pending_minor = slice.debits_pending_minor + posted.debits_pending_minor,
        credits_pending_minor = slice.credits_pending_minor + posted.credits_pending_minor
    FROM unnest(($2::packed_flush).posted) AS posted
    WHERE (SELECT is_open FROM gate)
        AND slice.partition_index = posted.partition_index
        AND slice.account_no = posted.account_no AND slice.version = posted.version_before
    RETURNING 1
), new_slices AS (
    INSERT INTO slice (partition_index, account_no, version, debits_posted_minor,
        credits_posted_minor, debits_pending_minor, credits_pending_minor)
    SELECT partition_index, account_no, transfer_count, debits_posted_minor, credits_posted_minor,
        debits_pending_minor, credits_pending_minor
    FROM unnest(($2::packed_flush).new_slices) WHERE (SELECT is_open FROM gate)
), events AS (
    INSERT INTO event (partition_index, order_no, sequence, batch_seq, type, merchant_no, mode)
    SELECT partition_index, order_no, sequence, batch_seq, type, merchant_no, mode
    FROM unnest(($2::packed_flush).events) WHERE (SELECT is_open FROM gate)
), refused AS (
    INSERT INTO refused_request (partition_index, order_uuid, fingerprint, accepted_at)
    SELECT partition_index, order_uuid, fingerprint, accepted_at
    FROM unnest(($2::packed_flush).refused) WHERE (SELECT is_open FROM gate)
    ON CONFLICT DO NOTHING
), batches AS (
    -- One line for all partitions of the flush that have books in it.
    INSERT INTO ledger_batch (partition_indexes, epochs, batch_seqs, outcome_counts,
        transfer_counts, chain_hashes)
    SELECT array_agg(partition_index), array_agg(epoch), array_agg(batch_seq_before + 1),
        array_agg(outcome_count), array_agg(transfer_count), array_agg(chain_hash)
    FROM unnest(($2::packed_flush).heads)
    WHERE (SELECT is_open FROM gate) AND (outcome_count > 0 OR transfer_count > 0)
    HAVING count(*) > 0
)
SELECT transaction_timestamp() AS recorded_at,
    ARRAY(SELECT partition_index FROM fenced) AS passed,
    (SELECT count(*) FROM progressed) AS progressed_count,
    (SELECT count(*) FROM sliced) AS sliced_count,
    (SELECT count(*) FROM closed) AS closed_count;

-- write_splits --
-- The splits of orders taken in ($1), in the flush's transaction, after its fence was passed.
WITH brought AS MATERIALIZED (
    SELECT * FROM unnest($1::flush_split[])
), kept AS (
    INSERT INTO payment_split (partition_index, order_no, position, seller_no, amount_minor, fee_minor)
    SELECT partition_index, order_no, position, seller_no, amount_minor, fee_minor FROM brought
)
SELECT count(*) AS split_count FROM brought;

-- write_operations --
-- Operations taken in ($1), and how payments stand that operations changed ($2), in the flush's
-- transaction, after its fence was passed. One that waits for its turn is open without an attempt
-- (status 1); one that the books refused was never open. A payment that holds nothing any more has no
-- timer: it is not open, so nothing else could be its next step.
WITH taken_in AS (
    INSERT INTO operation (partition_index, order_no, operation_uuid, kind, payment_no,
        idempotency_key, merchant_no, mode, amount_minor, currency, fingerprint, api_version,
        accepted_at)
    SELECT partition_index, order_no, operation_uuid, kind, payment_no, idempotency_key,
        merchant_no, mode, amount_minor, currency, fingerprint, api_version, accepted_at
    FROM unnest($1::flush_operation[])
), opened AS (
    INSERT INTO open_order (partition_index, order_no, status, is_outcome_known, attempt_no,
        try_count)
    SELECT partition_index, order_no, CASE attempt_no WHEN 0 THEN 1 ELSE 2 END, true, attempt_no, 0
    FROM unnest($1::flush_operation[]) WHERE is_open
), stands AS MATERIALIZED (
    SELECT * FROM unnest($2::flush_payment_standing[])
), changed AS (
    INSERT INTO payment_standing (partition_index, order_no, status, captured_minor,
        refunded_minor, fee_taken_minor, disputed_minor, event_sequence, operation_count)
    SELECT partition_index, order_no, status, captured_minor, refunded_minor, fee_taken_minor,
        disputed_minor, event_sequence, operation_count
    FROM stands
    ON CONFLICT (partition_index, order_no) DO UPDATE SET status = excluded.status,
        captured_minor = excluded.captured_minor, refunded_minor = excluded.refunded_minor,
        fee_taken_minor = excluded.fee_taken_minor, disputed_minor = excluded.disputed_minor,
        event_sequence = excluded.event_sequence, operation_count = excluded.operation_count,
        updated_at = excluded.updated_at
), timed AS (
    INSERT INTO timer (partition_index, order_no, kind, due_at)
    SELECT partition_index, order_no, 5,
        clock_timestamp() + expires_in_ms * interval '1 millisecond'
    FROM stands WHERE is_held AND expires_in_ms IS NOT NULL
    ON CONFLICT (partition_index, order_no) DO UPDATE SET kind = excluded.kind,
        due_at = excluded.due_at
), quieted AS (
    DELETE FROM timer USING stands
    WHERE NOT stands.is_held
        AND timer.partition_index = stands.partition_index AND timer.order_no = stands.order_no
)
SELECT count(*) AS standing_count FROM stands;

-- write_disputes --
-- How disputes stand ($1), in the flush's transaction, after its fence was passed.
WITH brought AS MATERIALIZED (
    SELECT * FROM unnest($1::flush_dispute[])
), changed AS (
    INSERT INTO dispute (partition_index, order_no, payment_no, psp, reference, status,
        amount_minor, currency, event_sequence, merchant_no, mode)
    SELECT partition_index, order_no, payment_no, psp, reference, status, amount_minor, currency,
        event_sequence, merchant_no, mode
    FROM brought
    ON CONFLICT (partition_index, order_no) DO UPDATE SET status = excluded.status,
        event_sequence = excluded.event_sequence, updated_at = transaction_timestamp()
)
SELECT count(*) AS dispute_count FROM brought;

-- write_letters --
-- The rare part of a flush: letters ($1), the orders they stand for, and what became of operators'
-- actions ($2). Runs in the flush's transaction, after its fence was passed. A message that was read
-- again is the same letter; so is one that was sent again under the same order. An order that is in
-- the books already needs no row: the letter is only a damaged copy.
WITH hashed AS (
    SELECT letter.*, sha256(letter.raw_envelope) AS raw_sha256
    FROM unnest($1::flush_letter[]) AS letter
), brought AS MATERIALIZED (
    SELECT DISTINCT ON (partition_index, raw_sha256, coalesce(order_uuid::text, stream_id)) *
    FROM hashed
    ORDER BY partition_index, raw_sha256, coalesce(order_uuid::text, stream_id), stream_id
), letters AS (
    INSERT INTO dead_letter (partition_index, stream_id, order_uuid, merchant_no, mode, reason,
        detail, attempt_count, raw_envelope)
    SELECT partition_index, stream_id, order_uuid, merchant_no, mode, reason, detail,
        attempt_count, raw_envelope
    FROM brought
    LEFT JOIN LATERAL (
        SELECT true AS is_kept FROM dead_letter AS before
        WHERE before.partition_index = brought.partition_index
            AND before.raw_sha256 = brought.raw_sha256 AND before.order_uuid = brought.order_uuid
        LIMIT 1
    ) AS kept ON true
    WHERE kept.is_kept IS NULL
    ON CONFLICT DO NOTHING
    RETURNING dead_letter_no, partition_index, stream_id, raw_sha256
), set_aside AS (
    INSERT INTO set_aside_order (partition_index, order_uuid, dead_letter_no, merchant_no, mode,
        fingerprint, api_version, accepted_at)
    SELECT brought.partition_index, brought.order_uuid, letters.dead_letter_no,
        brought.merchant_no, brought.mode, brought.fingerprint, brought.api_version,
        coalesce(brought.accepted_at, transaction_timestamp())
    FROM brought JOIN letters USING (partition_index, stream_id, raw_sha256)
    WHERE brought.is_order AND NOT EXISTS (
        SELECT FROM payment_order
        WHERE payment_order.order_uuid = brought.order_uuid
            AND payment_order.partition_index = brought.partition_index)
    AND NOT EXISTS (
        SELECT FROM operation
        WHERE operation.operation_uuid = brought.order_uuid
            AND operation.partition_index = brought.partition_index)
    ON CONFLICT DO NOTHING
), results AS (
    INSERT INTO dead_letter_result (action_no, dead_letter_no, partition_index, batch_seq, result,
        detail)
    SELECT action_no, dead_letter_no, partition_index, batch_seq, result, detail
    FROM unnest($2::flush_letter_result[])
    ON CONFLICT DO NOTHING
), done AS (
    DELETE FROM dead_letter_pending AS waiting USING unnest($2::flush_letter_result[]) AS ended
    WHERE waiting.partition_index = ended.partition_index AND waiting.action_no = ended.action_no
)
SELECT count(*) AS letter_count FROM brought;

-- write_evidence_results --
-- What became of evidence ($1), in the flush's transaction, after its fence was passed.
WITH brought AS MATERIALIZED (
    SELECT evidence_no, partition_index, batch_seq, result, detail
    FROM unnest($1::flush_evidence_result[])
), results AS (
    INSERT INTO evidence_result (evidence_no, partition_index, batch_seq, result, detail)
    SELECT evidence_no, partition_index, batch_seq, result, detail FROM brought
    ON CONFLICT DO NOTHING
), done AS (
    DELETE FROM evidence_pending AS waiting USING brought
    WHERE waiting.partition_index = brought.partition_index
        AND waiting.evidence_no = brought.evidence_no
)
SELECT count(*) AS result_count FROM brought;

-- write_psp_events --
-- Events of PSPs ($1), kept once each, and what became of events ($2), in the flush's transaction, after
-- its fence was passed. A new event without a result waits, unless $3 of its partition wait already:
-- then it is set down as unmatched (5), so that what waits stays bounded. Those whose order is here are
-- judged soon, and have as many places more: others, which wait for days, don't take theirs. Ignored (3) is said of what
-- came just now: where the books hold an event of that name, that one stands, which may tell an end.
WITH brought AS MATERIALIZED (
    SELECT DISTINCT ON (partition_index, event_uuid) * FROM unnest($1::flush_psp_notice[])
), kept AS (
    INSERT INTO psp_event (partition_index, event_uuid, psp, event_id, order_uuid, attempt_no,
        result, reference, captured_minor, currency, failure_code, decline_code, message,
        effective_at, accepted_at, dispute_id, dispute_state, disputed_minor)
    SELECT partition_index, event_uuid, psp, event_id, order_uuid, attempt_no, result, reference,
        captured_minor, currency, failure_code, decline_code, message, effective_at, accepted_at,
        dispute_id, dispute_state, disputed_minor
    FROM brought
    ON CONFLICT DO NOTHING
    RETURNING partition_index, event_uuid, order_uuid
), ended AS MATERIALIZED (
    SELECT DISTINCT ON (partition_index, event_uuid) *
    FROM unnest($2::flush_psp_event_result[]) AS judged
    WHERE result <> 3 OR EXISTS (
        SELECT FROM kept
        WHERE kept.partition_index = judged.partition_index AND kept.event_uuid = judged.event_uuid)
    ORDER BY partition_index, event_uuid, result
), full_up AS MATERIALIZED (
    SELECT asked.partition_index, counted.waiting_count
    FROM (SELECT DISTINCT partition_index FROM kept) AS asked
    CROSS JOIN LATERAL (
        SELECT count(*) AS waiting_count FROM (
            SELECT FROM psp_event_pending AS waiting
            WHERE waiting.partition_index = asked.partition_index LIMIT 2 * $3) AS found
    ) AS counted
    WHERE counted.waiting_count >= $3
), fresh AS MATERIALIZED (
    SELECT partition_index, event_uuid, EXISTS (
        SELECT FROM full_up
        WHERE full_up.partition_index = kept.partition_index
            AND (full_up.waiting_count >= 2 * $3 OR NOT EXISTS (
                SELECT FROM payment_order AS o
                WHERE o.partition_index = kept.partition_index AND o.order_uuid = kept.order_uuid))
    ) AS is_too_many
    FROM kept
    WHERE NOT EXISTS (
        SELECT FROM ended
        WHERE ended.partition_index = kept.partition_index AND ended.event_uuid = kept.event_uuid)
), waiting AS (
    INSERT INTO psp_event_pending (partition_index, event_uuid)
    SELECT partition_index, event_uuid FROM fresh WHERE NOT is_too_many
), results AS (
    INSERT INTO psp_event_result (partition_index, event_uuid, batch_seq, order_no, result, detail)
    SELECT partition_index, event_uuid, batch_seq, order_no, result, detail FROM ended
    UNION ALL
    SELECT fresh.partition_index, fresh.event_uuid, partition.batch_seq, NULL, 5,
        'too many events wait already'
    FROM fresh JOIN partition USING (partition_index) WHERE fresh.is_too_many
    ON CONFLICT DO NOTHING
), done AS (
    DELETE FROM psp_event_pending AS waiting USING ended
    WHERE waiting.partition_index = ended.partition_index
        AND waiting.event_uuid = ended.event_uuid
), audited AS (
    INSERT INTO audit (actor, action, subject, detail)
    SELECT 'psp ' || event.psp, 'payment.psp_event', event.order_uuid::text, jsonb_build_object(
        'event_id', event.event_id, 'attempt_no', event.attempt_no,
        'is_charged', event.result = 1, 'reference', event.reference)
    FROM ended JOIN psp_event AS event USING (partition_index, event_uuid)
    WHERE ended.result = 1
)
SELECT count(*) AS kept_count FROM kept;

-- write_checkouts --
-- Checkouts ($1) with their orders' places ($2), each name once in $1, in the flush's transaction, after
-- its fence was passed. One that the books hold stays as it is; a late one with another body under the same
-- key is kept as refused.
WITH brought AS MATERIALIZED (
    SELECT * FROM unnest($1::flush_checkout[])
), kept AS (
    INSERT INTO checkout (partition_index, checkout_uuid, idempotency_key, merchant_no, mode,
        success_url, cancel_url, metadata, fingerprint, api_version, accepted_at)
    SELECT partition_index, checkout_uuid, idempotency_key, merchant_no, mode, success_url,
        cancel_url, metadata_json::jsonb, fingerprint, api_version, accepted_at
    FROM brought
    ON CONFLICT DO NOTHING
    RETURNING partition_index, checkout_uuid
), placed AS (
    INSERT INTO checkout_order (partition_index, checkout_uuid, position, order_uuid,
        idempotency_key, seller_no, amount_minor, currency, fingerprint)
    SELECT o.partition_index, o.checkout_uuid, o.position, o.order_uuid, o.idempotency_key,
        o.seller_no, o.amount_minor, o.currency, o.fingerprint
    FROM unnest($2::flush_checkout_order[]) AS o
    JOIN kept USING (partition_index, checkout_uuid)
), late AS (
    INSERT INTO refused_request (partition_index, order_uuid, fingerprint, accepted_at)
    SELECT brought.partition_index, brought.checkout_uuid, brought.fingerprint, brought.accepted_at
    FROM brought
    JOIN checkout AS first USING (partition_index, checkout_uuid)
    WHERE first.fingerprint <> brought.fingerprint
    ON CONFLICT DO NOTHING
)
SELECT count(*) AS kept_count FROM kept;
