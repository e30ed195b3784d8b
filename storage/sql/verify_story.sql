-- Everything that the books know of one thing, for the story of a finding of `tally verify`.

-- order --
SELECT o.partition_index, o.order_no, merchant.merchant_id, o.mode, o.idempotency_key::text AS idempotency_key,
       o.order_uuid::text AS order_uuid, seller.seller_id, o.amount_minor, o.currency, o.fee_minor,
       o.accepted_at, o.taken_in_at
FROM payment_order AS o
LEFT JOIN merchant USING (merchant_no)
LEFT JOIN seller ON seller.seller_no = o.seller_no
WHERE o.partition_index = $1 AND o.order_no = $2;

-- attempts --
SELECT attempt_no, psp, psp_account, psp_key, epoch, created_at FROM attempt
WHERE partition_index = $1 AND order_no = $2 ORDER BY attempt_no;

-- open_order --
SELECT status, is_outcome_known, attempt_no, try_count, psp_reference, next_retry_at FROM open_order
WHERE partition_index = $1 AND order_no = $2;

-- timer --
SELECT kind, due_at FROM timer WHERE partition_index = $1 AND order_no = $2;

-- outcome --
SELECT status, batch_seq, amount_captured_minor, fee_minor, currency, attempt_no, psp, psp_reference,
       failure_code, decline_code, failure_message, event_sequence, effective_at, recorded_at
FROM order_outcome WHERE partition_index = $1 AND order_no = $2;

-- transfers --
SELECT moved.step, moved.batch_seq, moved.kind, moved.amount_minor, moved.currency,
       moved.debit_account_no, debit.kind AS debit_kind, debit.holder AS debit_holder,
       moved.credit_account_no, credit.kind AS credit_kind, credit.holder AS credit_holder,
       moved.recorded_at
FROM transfer AS moved
LEFT JOIN account AS debit
    ON debit.partition_index = moved.partition_index AND debit.account_no = moved.debit_account_no
LEFT JOIN account AS credit
    ON credit.partition_index = moved.partition_index AND credit.account_no = moved.credit_account_no
WHERE moved.partition_index = $1 AND moved.order_no = $2 ORDER BY moved.step;

-- events --
SELECT sequence, type, batch_seq, created_at FROM event
WHERE partition_index = $1 AND order_no = $2 ORDER BY sequence;

-- charges_of_order --
SELECT charge.* FROM oracle_charge AS charge
WHERE order_uuid IN (
    SELECT order_uuid FROM payment_order WHERE partition_index = $1 AND order_no = $2)
ORDER BY psp, n LIMIT 20;

-- evidence_of_order --
SELECT said.evidence_no, said.attempt_no, said.source, said.result, said.reference, said.captured_minor,
       said.currency, said.actor, decided.result AS decided, decided.batch_seq, decided.detail
FROM evidence AS said LEFT JOIN evidence_result AS decided USING (evidence_no)
WHERE said.partition_index = $1 AND said.order_no = $2 ORDER BY said.evidence_no;

-- psp_events_of_order --
SELECT told.psp, told.event_id, told.attempt_no, told.result, told.reference, told.captured_minor,
       told.currency, told.accepted_at, judged.result AS judged, judged.batch_seq, judged.detail
FROM payment_order AS o
JOIN psp_event AS told
    ON told.partition_index = o.partition_index AND told.order_uuid = o.order_uuid
LEFT JOIN psp_event_result AS judged
    ON judged.partition_index = told.partition_index AND judged.event_uuid = told.event_uuid
WHERE o.partition_index = $1 AND o.order_no = $2 ORDER BY told.recorded_at, told.event_id;

-- charge --
SELECT * FROM oracle_charge WHERE reference = $1 ORDER BY psp, n LIMIT 20;

-- charges_of_identity --
SELECT * FROM oracle_charge WHERE order_uuid = $1::text::uuid ORDER BY psp, n LIMIT 20;

-- orders_of_identity --
SELECT partition_index, order_no, idempotency_key::text AS idempotency_key, amount_minor, currency
FROM payment_order WHERE order_uuid = $1::text::uuid ORDER BY partition_index, order_no LIMIT 20;

-- account --
SELECT partition_index, account_no, merchant_no, mode, kind, holder, currency FROM account
WHERE partition_index = $1 AND account_no = $2;

-- slice --
SELECT slice.*, posted.debits_minor AS debits_of_transfers, posted.credits_minor AS credits_of_transfers,
       posted.transfer_count
FROM slice LEFT JOIN posted USING (partition_index, account_no)
WHERE partition_index = $1 AND account_no = $2;

-- transfers_of_account --
-- The latest ones: what was tampered with first shows in the checks of orders.
SELECT order_no, step, batch_seq, kind, debit_account_no, credit_account_no, amount_minor, currency
FROM transfer
WHERE partition_index = $1 AND (debit_account_no = $2 OR credit_account_no = $2)
ORDER BY order_no DESC, step DESC LIMIT 20;

-- partition --
SELECT partition_index, epoch, batch_seq, order_no_last, account_no_last,
       encode(chain_hash, 'hex') AS chain_hash, claimed_at
FROM partition WHERE partition_index = $1;

-- batch --
SELECT line.ledger_batch_no, line.recorded_at, part.epoch, part.outcome_count, part.transfer_count,
       encode(part.chain_hash, 'hex') AS chain_hash
FROM ledger_batch AS line CROSS JOIN LATERAL unnest(partition_indexes, epochs, batch_seqs,
    outcome_counts, transfer_counts, chain_hashes) AS part (partition_index, epoch, batch_seq,
    outcome_count, transfer_count, chain_hash)
WHERE part.partition_index = $1 AND part.batch_seq = $2;

-- outcomes_of_batch --
SELECT order_no, status, amount_captured_minor, currency, psp_reference, failure_code, failure_message
FROM order_outcome
WHERE partition_index = $1 AND batch_seq = $2 ORDER BY order_no LIMIT 20;

-- transfers_of_batch --
SELECT order_no, step, kind, debit_account_no, credit_account_no, amount_minor, currency FROM transfer
WHERE partition_index = $1 AND batch_seq = $2 ORDER BY order_no, step LIMIT 20;

-- wallet --
SELECT account.partition_index, account.account_no, slice.version, slice.debits_posted_minor,
       slice.credits_posted_minor, posted.debits_minor AS debits_of_transfers,
       posted.credits_minor AS credits_of_transfers
FROM account
LEFT JOIN slice USING (partition_index, account_no)
LEFT JOIN posted USING (partition_index, account_no)
WHERE merchant_no = $1 AND mode = $2 AND kind = 1 AND holder = $3 AND currency = $4
ORDER BY partition_index LIMIT 20;

-- odd_transfers --
-- Transfers between accounts of two currencies, or of none, which unbalance one.
SELECT moved.partition_index, moved.order_no, moved.step, moved.amount_minor, moved.currency,
       moved.debit_account_no, debit.currency AS debit_currency,
       moved.credit_account_no, credit.currency AS credit_currency
FROM transfer AS moved
LEFT JOIN account AS debit
    ON debit.partition_index = moved.partition_index AND debit.account_no = moved.debit_account_no
LEFT JOIN account AS credit
    ON credit.partition_index = moved.partition_index AND credit.account_no = moved.credit_account_no
WHERE debit.currency IS DISTINCT FROM credit.currency OR debit.currency IS NULL
ORDER BY moved.partition_index, moved.order_no LIMIT 20;
