-- The books as plain rows, for a checker outside that joins them with what clients and PSPs recorded.
--
-- Columns stand in the order in which loadtest/checker/records.py names them. Nothing here was taken
-- from what writes the rows. Times are nanoseconds since 1970, hashes hexadecimal.

-- begin --
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;

-- orders --
SELECT o.partition_index, o.order_no, o.order_uuid::text, coalesce(merchant.merchant_id, ''), o.mode,
       o.idempotency_key::text, coalesce(seller.seller_id, ''), o.amount_minor, o.currency::text,
       o.fee_minor, encode(o.fingerprint, 'hex'), coalesce(o.metadata::text, '{}'),
       (extract(epoch FROM o.taken_in_at) * 1000000)::bigint * 1000
FROM payment_order AS o
LEFT JOIN merchant USING (merchant_no)
LEFT JOIN seller ON seller.seller_no = o.seller_no
ORDER BY o.partition_index, o.order_no;

-- splits --
SELECT partition_index, order_no, position, coalesce(seller.seller_id, ''), amount_minor, fee_minor
FROM payment_split LEFT JOIN seller USING (seller_no)
ORDER BY partition_index, order_no, position;

-- attempts --
SELECT partition_index, order_no, attempt_no, psp, psp_account, psp_key, epoch
FROM attempt ORDER BY partition_index, order_no, attempt_no;

-- outcomes --
SELECT partition_index, order_no, batch_seq, status, amount_captured_minor, fee_minor, currency::text,
       attempt_no, psp, psp_reference, failure_code, decline_code, failure_message,
       (extract(epoch FROM effective_at) * 1000000)::bigint, event_sequence,
       (extract(epoch FROM recorded_at) * 1000000)::bigint * 1000
FROM order_outcome ORDER BY partition_index, order_no;

-- operations --
SELECT partition_index, order_no, operation_uuid::text, kind, payment_no, amount_minor,
       idempotency_key::text, encode(fingerprint, 'hex')
FROM operation ORDER BY partition_index, order_no;

-- checkouts --
SELECT checkout_uuid::text, coalesce(merchant.merchant_id, ''), mode, idempotency_key::text,
       encode(fingerprint, 'hex')
FROM checkout LEFT JOIN merchant USING (merchant_no)
ORDER BY partition_index, checkout_uuid;

-- checkout_orders --
SELECT checkout_uuid::text, idempotency_key::text, amount_minor, currency::text,
       encode(fingerprint, 'hex')
FROM checkout_order ORDER BY partition_index, checkout_uuid, position;

-- disputes --
SELECT partition_index, order_no, payment_no, status, amount_minor
FROM dispute ORDER BY partition_index, order_no;

-- open_orders --
-- The last says what a person has to do first: here a buyer, who has more time than anybody waits for a run to end.
SELECT o.partition_index, o.order_no, o.status, o.is_outcome_known, o.attempt_no,
       timer.order_no IS NOT NULL,
       CASE WHEN o.status = 3 AND o.is_outcome_known
                AND o.action_expires_at > now() + interval '5 minutes'
            THEN 'its buyer has to act' ELSE '' END
FROM open_order AS o LEFT JOIN timer USING (partition_index, order_no)
ORDER BY o.partition_index, o.order_no;

-- has_parked_orders --
SELECT to_regclass('parked_order') IS NOT NULL AS is_there;

-- parked_orders --
SELECT partition_index, order_no, reason FROM parked_order ORDER BY partition_index, order_no;

-- accounts --
-- A wallet's holder is told by its seller's id (kind 1).
SELECT account.partition_index, account.account_no, coalesce(merchant.merchant_id, ''), account.mode,
       account.kind, coalesce(seller.seller_id, account.holder), account.currency::text
FROM account
LEFT JOIN merchant USING (merchant_no)
LEFT JOIN seller ON account.kind = 1 AND seller.seller_no::text = account.holder
ORDER BY account.partition_index, account.account_no;

-- transfers --
SELECT partition_index, order_no, step, batch_seq, kind, debit_account_no, credit_account_no,
       amount_minor, currency::text
FROM transfer ORDER BY partition_index, order_no, step;

-- slices --
SELECT partition_index, account_no, version, debits_posted_minor, credits_posted_minor,
       debits_pending_minor, credits_pending_minor
FROM slice ORDER BY partition_index, account_no;

-- events --
SELECT partition_index, order_no, sequence, batch_seq, type
FROM event ORDER BY partition_index, order_no, sequence;

-- batches --
SELECT ledger_batch_no, part.partition_index, part.epoch, part.batch_seq, part.outcome_count,
       part.transfer_count, encode(part.chain_hash, 'hex')
FROM ledger_batch CROSS JOIN LATERAL unnest(partition_indexes, epochs, batch_seqs, outcome_counts,
    transfer_counts, chain_hashes) AS part (partition_index, epoch, batch_seq, outcome_count,
    transfer_count, chain_hash)
ORDER BY ledger_batch_no, part.partition_index;

-- partitions --
SELECT partition_index, epoch, batch_seq, order_no_last, encode(chain_hash, 'hex'),
       coalesce(owner::text, '')
FROM partition ORDER BY partition_index;

-- refused --
SELECT order_uuid::text, encode(fingerprint, 'hex') FROM refused_request ORDER BY 1, 2;

-- dead_letters --
SELECT partition_index, stream_id, coalesce(order_uuid::text, ''), reason, encode(raw_sha256, 'hex')
FROM dead_letter ORDER BY dead_letter_no;

-- wallet_totals --
-- By currency, twice: what all wallets hold as their slices say, and as their entries come to.
SELECT currency::text, sum(held_minor)::text, sum(entered_minor)::text
FROM (
    SELECT account.currency, slice.credits_posted_minor - slice.debits_posted_minor AS held_minor,
           0 AS entered_minor
    FROM slice JOIN account USING (partition_index, account_no) WHERE account.kind = 1
    UNION ALL
    SELECT account.currency, 0, CASE entries.side WHEN 'credit' THEN 1 ELSE -1 END * entries.amount_minor
    FROM entries JOIN account USING (partition_index, account_no) WHERE account.kind = 1
) AS side
GROUP BY currency ORDER BY currency;
