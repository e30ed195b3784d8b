-- The flush: staging tables, the fence, and the two statements that carry staged rows into the
-- books.
--
-- Sessions that run these plan with nested loops over indexes alone (storage/lane.py): the staged
-- side is small and has no statistics, and a plan made while a table was empty must not scan it
-- once it is large.

-- create_staging --
-- Once a connection. Columns stand in the order of payments/rows.py. COMMIT empties every one of
-- these tables, and for each that has a TOAST table it rebuilds that table's index: measured, 0.45
-- ms a table, with the locks of the flush held. Plain storage needs no TOAST, but a row must fit in
-- a page: larger ones go to the wide tables below. No indexes either, so that emptying invalidates
-- no plan.
CREATE TEMPORARY TABLE staging_order (
    partition_index smallint, order_no bigint, order_uuid uuid, idempotency_key uuid,
    merchant_no integer, mode smallint, seller_no integer, amount_minor bigint,
    currency text STORAGE PLAIN, fee_minor bigint, fingerprint bytea STORAGE PLAIN,
    metadata_json text STORAGE PLAIN, api_version text STORAGE PLAIN, accepted_at timestamptz
) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE staging_personal (
    partition_index smallint, order_no bigint, part smallint, envelope bytea STORAGE PLAIN
) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE staging_attempt (
    partition_index smallint, order_no bigint, attempt_no smallint, psp text STORAGE PLAIN,
    psp_account text STORAGE PLAIN, psp_key text STORAGE PLAIN, epoch bigint
) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE staging_progress (
    partition_index smallint, order_no bigint, status smallint, is_outcome_known boolean,
    attempt_no smallint, try_count integer, psp_reference text STORAGE PLAIN,
    next_action_url text STORAGE PLAIN, action_expires_at timestamptz, next_retry_at timestamptz
) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE staging_timer (
    partition_index smallint, order_no bigint, kind smallint, delay_ms bigint
) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE staging_outcome (
    partition_index smallint, order_no bigint, batch_seq bigint, status smallint,
    amount_captured_minor bigint, fee_minor bigint, currency text STORAGE PLAIN,
    attempt_no smallint, psp text STORAGE PLAIN, psp_reference text STORAGE PLAIN,
    failure_code text STORAGE PLAIN, decline_code text STORAGE PLAIN,
    failure_message text STORAGE PLAIN, effective_at timestamptz, event_sequence integer
) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE staging_transfer (
    partition_index smallint, order_no bigint, step smallint, batch_seq bigint, kind smallint,
    debit_account_no bigint, credit_account_no bigint, amount_minor bigint,
    currency text STORAGE PLAIN
) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE staging_account (
    partition_index smallint, account_no bigint, merchant_no integer, mode smallint, kind smallint,
    holder text STORAGE PLAIN, currency text STORAGE PLAIN
) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE staging_slice (
    partition_index smallint, account_no bigint, version_before bigint, transfer_count bigint,
    debits_posted_minor numeric(38) STORAGE PLAIN, credits_posted_minor numeric(38) STORAGE PLAIN
) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE staging_event (
    partition_index smallint, order_no bigint, sequence integer, batch_seq bigint, type smallint
) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE staging_refused (
    partition_index smallint, order_uuid uuid, fingerprint bytea STORAGE PLAIN,
    accepted_at timestamptz
) ON COMMIT DELETE ROWS;

-- create_wide_staging --
-- Once a connection, when it meets its first row that may not fit in a page.
CREATE TEMPORARY TABLE staging_wide_order (
    partition_index smallint, order_no bigint, order_uuid uuid, idempotency_key uuid,
    merchant_no integer, mode smallint, seller_no integer, amount_minor bigint, currency text,
    fee_minor bigint, fingerprint bytea, metadata_json text, api_version text,
    accepted_at timestamptz
) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE staging_wide_personal (
    partition_index smallint, order_no bigint, part smallint, envelope bytea
) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE staging_dead_letter (
    partition_index smallint, stream_id text, order_uuid uuid, merchant_no integer, mode smallint,
    reason text, detail text, raw_envelope bytea
) ON COMMIT DELETE ROWS;

-- fence --
-- The first statement of a flush that takes a lock. Locks are taken in the order of the partitions,
-- so that two flushes can't wait for each other; unnest gives no order. A stale owner, and a flush
-- that was written already, gets fewer rows than it asked for.
WITH wanted AS (
    SELECT * FROM unnest($1::smallint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[],
        $6::bytea[])
        AS head (partition_index, epoch, batch_seq_before, order_no_last, account_no_last,
        chain_hash)
), locked AS MATERIALIZED (
    SELECT partition_index FROM partition WHERE partition_index = ANY ($1::smallint[])
    ORDER BY partition_index FOR UPDATE
)
UPDATE partition
SET batch_seq = wanted.batch_seq_before + 1, order_no_last = wanted.order_no_last,
    account_no_last = wanted.account_no_last, chain_hash = wanted.chain_hash
FROM locked JOIN wanted USING (partition_index)
WHERE partition.partition_index = locked.partition_index
    AND partition.epoch = wanted.epoch AND partition.batch_seq = wanted.batch_seq_before
RETURNING partition.partition_index;

-- insert_rows --
-- What is only ever added. One statement, so one round trip and one plan; its parts don't see each
-- other's rows. A new order is open, known and at its first attempt (status 2 = processing);
-- update_rows comes after it when the same flush says more. The parameters are the line of
-- ledger_batch, empty for none.
WITH orders AS (
    INSERT INTO payment_order (partition_index, order_no, order_uuid, idempotency_key,
        merchant_no, mode,
        seller_no, amount_minor, currency, fee_minor, fingerprint, metadata, api_version,
        accepted_at)
    SELECT partition_index, order_no, order_uuid, idempotency_key, merchant_no, mode, seller_no,
        amount_minor, currency, fee_minor, fingerprint, metadata_json::jsonb, api_version,
        accepted_at
    FROM staging_order
), opened AS (
    INSERT INTO open_order (partition_index, order_no, status, is_outcome_known, attempt_no,
        try_count)
    SELECT partition_index, order_no, 2, true, 1, 0 FROM staging_order
), personal AS (
    INSERT INTO personal_data (partition_index, order_no, part, envelope)
    SELECT partition_index, order_no, part, envelope FROM staging_personal
), attempts AS (
    INSERT INTO attempt (partition_index, order_no, attempt_no, psp, psp_account, psp_key, epoch)
    SELECT partition_index, order_no, attempt_no, psp, psp_account, psp_key, epoch
        FROM staging_attempt
), outcomes AS (
    INSERT INTO order_outcome (partition_index, order_no, batch_seq, status,
        amount_captured_minor, fee_minor,
        currency, attempt_no, psp, psp_reference, failure_code, decline_code, failure_message,
        effective_at,
        event_sequence)
    SELECT partition_index, order_no, batch_seq, status, amount_captured_minor, fee_minor, currency,
        attempt_no, psp, psp_reference, failure_code, decline_code, failure_message, effective_at,
        event_sequence
    FROM staging_outcome
), transfers AS (
    INSERT INTO transfer (partition_index, order_no, step, batch_seq, kind, debit_account_no,
        credit_account_no, amount_minor, currency)
    SELECT partition_index, order_no, step, batch_seq, kind, debit_account_no, credit_account_no,
        amount_minor, currency
    FROM staging_transfer
), accounts AS (
    INSERT INTO account (partition_index, account_no, merchant_no, mode, kind, holder, currency)
    SELECT partition_index, account_no, merchant_no, mode, kind, holder, currency
        FROM staging_account
), zero_slices AS (
    INSERT INTO slice (partition_index, account_no, version, debits_posted_minor,
        credits_posted_minor)
    SELECT partition_index, account_no, 0, 0, 0 FROM staging_account
), events AS (
    INSERT INTO event (partition_index, order_no, sequence, batch_seq, type)
    SELECT partition_index, order_no, sequence, batch_seq, type FROM staging_event
), refused AS (
    INSERT INTO refused_request (partition_index, order_uuid, fingerprint, accepted_at)
    SELECT partition_index, order_uuid, fingerprint, accepted_at FROM staging_refused
    ON CONFLICT DO NOTHING
), batches AS (
    INSERT INTO ledger_batch (partition_indexes, epochs, batch_seqs, outcome_counts,
        transfer_counts,
        chain_hashes)
    SELECT $1::smallint[], $2::bigint[], $3::bigint[], $4::integer[], $5::integer[], $6::bytea[]
    WHERE cardinality($1::smallint[]) > 0
)
SELECT transaction_timestamp() AS recorded_at;

-- insert_wide_rows --
-- The same for the wide tables, where a flush has any such row.
WITH orders AS (
    INSERT INTO payment_order (partition_index, order_no, order_uuid, idempotency_key, merchant_no,
        mode, seller_no, amount_minor, currency, fee_minor, fingerprint, metadata, api_version,
        accepted_at)
    SELECT partition_index, order_no, order_uuid, idempotency_key, merchant_no, mode, seller_no,
        amount_minor, currency, fee_minor, fingerprint, metadata_json::jsonb, api_version,
        accepted_at
    FROM staging_wide_order
), opened AS (
    INSERT INTO open_order (partition_index, order_no, status, is_outcome_known, attempt_no,
        try_count)
    SELECT partition_index, order_no, 2, true, 1, 0 FROM staging_wide_order
), personal AS (
    INSERT INTO personal_data (partition_index, order_no, part, envelope)
    SELECT partition_index, order_no, part, envelope FROM staging_wide_personal
)
INSERT INTO dead_letter (partition_index, stream_id, order_uuid, merchant_no, mode, reason, detail,
    raw_envelope)
SELECT partition_index, stream_id, order_uuid, merchant_no, mode, reason, detail, raw_envelope
FROM staging_dead_letter
ON CONFLICT DO NOTHING;

-- update_rows --
-- What changes or ends. The caller compares the counts with the rows it staged: an order that is
-- not open, or a slice at another version, is a defect.
WITH progressed AS (
    UPDATE open_order
    SET status = staged.status, is_outcome_known = staged.is_outcome_known,
        attempt_no = staged.attempt_no,
        try_count = staged.try_count, psp_reference = staged.psp_reference,
        next_action_url = staged.next_action_url, action_expires_at = staged.action_expires_at,
        next_retry_at = staged.next_retry_at
    FROM staging_progress AS staged
    WHERE open_order.partition_index = staged.partition_index
        AND open_order.order_no = staged.order_no
    RETURNING 1
), sliced AS (
    UPDATE slice
    SET version = slice.version + staged.transfer_count,
        debits_posted_minor = slice.debits_posted_minor + staged.debits_posted_minor,
        credits_posted_minor = slice.credits_posted_minor + staged.credits_posted_minor
    FROM staging_slice AS staged
    WHERE slice.partition_index = staged.partition_index AND slice.account_no = staged.account_no
        AND slice.version = staged.version_before
    RETURNING 1
), closed AS (
    DELETE FROM open_order USING staging_outcome AS ended
    WHERE open_order.partition_index = ended.partition_index
        AND open_order.order_no = ended.order_no
    RETURNING 1
), quieted AS (
    DELETE FROM timer USING staging_outcome AS ended
    WHERE timer.partition_index = ended.partition_index AND timer.order_no = ended.order_no
), timed AS (
    INSERT INTO timer (partition_index, order_no, kind, due_at)
    SELECT partition_index, order_no, kind, clock_timestamp() + delay_ms * interval '1 millisecond'
    FROM staging_timer
    ON CONFLICT (partition_index, order_no) DO UPDATE SET kind = excluded.kind,
        due_at = excluded.due_at
)
SELECT (SELECT count(*) FROM progressed) AS progressed_count,
    (SELECT count(*) FROM sliced) AS sliced_count,
    (SELECT count(*) FROM closed) AS closed_count;
