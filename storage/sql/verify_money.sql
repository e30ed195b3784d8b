-- Checks of `tally verify`: accounts, slices, batches and the chain. The form of a check is told in
-- verify.sql.

-- currencies --
-- Debits equal credits, by the currency of the accounts, once as the transfers tell and once as the
-- slices do.
SELECT currency, told_by, CASE
    WHEN currency IS NULL THEN 'money was moved on accounts that do not exist'
    WHEN sum(debits_minor) <> sum(credits_minor) THEN format(
        'debits are %s, credits are %s', sum(debits_minor), sum(credits_minor))
    END AS finding
FROM (
    SELECT account.currency, 'transfers' AS told_by, posted.debits_minor, posted.credits_minor
    FROM posted LEFT JOIN account USING (partition_index, account_no)
    UNION ALL
    SELECT account.currency, 'slices', slice.debits_posted_minor, slice.credits_posted_minor
    FROM slice LEFT JOIN account USING (partition_index, account_no)
) AS side
GROUP BY currency, told_by;

-- slices --
-- A slice is the sum of its transfers; its version is their number, so versions have no gap.
SELECT partition_index, account_no, CASE
    WHEN slice.version IS NULL THEN 'has transfers, and no slice'
    WHEN slice.debits_posted_minor <> coalesce(posted.debits_minor, 0) THEN format(
        'debits are %s, its transfers come to %s',
        slice.debits_posted_minor, coalesce(posted.debits_minor, 0))
    WHEN slice.credits_posted_minor <> coalesce(posted.credits_minor, 0) THEN format(
        'credits are %s, its transfers come to %s',
        slice.credits_posted_minor, coalesce(posted.credits_minor, 0))
    WHEN slice.version <> coalesce(posted.transfer_count, 0) THEN format(
        'is at version %s after %s transfers', slice.version, coalesce(posted.transfer_count, 0))
    WHEN slice.debits_pending_minor <> coalesce(posted.debits_pending_minor, 0) THEN format(
        'pending debits are %s, its transfers come to %s',
        slice.debits_pending_minor, coalesce(posted.debits_pending_minor, 0))
    WHEN slice.credits_pending_minor <> coalesce(posted.credits_pending_minor, 0) THEN format(
        'pending credits are %s, its transfers come to %s',
        slice.credits_pending_minor, coalesce(posted.credits_pending_minor, 0))
    END AS finding
FROM slice FULL JOIN posted USING (partition_index, account_no);

-- accounts --
-- Each account has its slice and the reverse, numbers without a gap, and a holder that exists (kind 1
-- is a wallet).
SELECT partition_index, account_no, CASE
    WHEN account.currency IS NULL THEN 'a slice without its account'
    WHEN slice.version IS NULL THEN 'an account without its slice'
    WHEN merchant.merchant_no IS NULL THEN 'its merchant does not exist'
    WHEN account.kind = 1 AND seller.seller_no IS NULL THEN 'its seller does not exist'
    WHEN account.kind NOT BETWEEN 1 AND 9 OR account.mode NOT IN (1, 2) THEN 'its kind or mode is unknown'
    WHEN account_no <> row_number() OVER numbered THEN 'accounts are not numbered from 1 on without a gap'
    WHEN lead(account_no) OVER numbered IS NULL AND account_no IS DISTINCT FROM held.account_no_last
        THEN format('is the last one, and its partition counts %s', held.account_no_last)
    END AS finding
FROM account
FULL JOIN slice USING (partition_index, account_no)
LEFT JOIN partition AS held USING (partition_index)
LEFT JOIN merchant USING (merchant_no)
LEFT JOIN seller ON account.kind = 1 AND seller.seller_no::text = account.holder
    AND seller.merchant_no = account.merchant_no AND seller.mode = account.mode
WINDOW numbered AS (PARTITION BY partition_index ORDER BY account_no);

-- wallets --
-- What a seller is shown, the sum of the wallet's slices, against the entries that accountants see.
SELECT merchant_no, mode, holder AS seller_no, currency, CASE
    WHEN sum(balance_minor) <> sum(entries_minor) THEN format(
        'its slices come to %s, its entries to %s', sum(balance_minor), sum(entries_minor))
    END AS finding
FROM (
    SELECT account.merchant_no, account.mode, account.holder, account.currency,
           coalesce(slice.credits_posted_minor - slice.debits_posted_minor, 0) AS balance_minor,
           coalesce(entered.amount_minor, 0) AS entries_minor
    FROM account
    LEFT JOIN slice USING (partition_index, account_no)
    LEFT JOIN (
        SELECT partition_index, account_no,
               sum(CASE side WHEN 'credit' THEN amount_minor ELSE -amount_minor END) AS amount_minor
        FROM entries GROUP BY partition_index, account_no
    ) AS entered USING (partition_index, account_no)
    WHERE account.kind = 1
) AS wallet
GROUP BY merchant_no, mode, holder, currency;

-- batches --
-- One line of ledger_batch for each batch that wrote outcomes or transfers, with their number, in the
-- order in which the partition wrote them.
SELECT partition_index, batch_seq, CASE
    WHEN line.ledger_batch_no IS NULL THEN 'wrote rows, and has no line in ledger_batch'
    WHEN line.partition_index IS NULL OR line.epoch IS NULL OR line.batch_seq IS NULL
        OR line.outcome_count IS NULL OR line.transfer_count IS NULL OR line.chain_hash IS NULL
        THEN format('line %s of ledger_batch is not of one length', line.ledger_batch_no)
    WHEN count(*) OVER (PARTITION BY partition_index, batch_seq) > 1 THEN 'has two lines in ledger_batch'
    WHEN line.outcome_count <> coalesce(outcomes.row_count, 0) THEN format(
        'wrote %s outcomes, and %s are there', line.outcome_count, coalesce(outcomes.row_count, 0))
    WHEN line.transfer_count <> coalesce(transfers.row_count, 0) THEN format(
        'wrote %s transfers, and %s are there', line.transfer_count, coalesce(transfers.row_count, 0))
    WHEN line.batch_seq > held.batch_seq_last OR held.batch_seq_last IS NULL THEN format(
        'is later than the last batch of its partition, %s', held.batch_seq_last)
    WHEN line.epoch > held.epoch OR line.epoch < lag(line.epoch) OVER in_order THEN format(
        'was written under epoch %s, which is out of turn', line.epoch)
    WHEN line.ledger_batch_no < lag(line.ledger_batch_no) OVER in_order
        THEN 'is earlier in ledger_batch than the batch before it'
    END AS finding
FROM (
    SELECT ledger_batch_no, part.*
    FROM ledger_batch CROSS JOIN LATERAL unnest(partition_indexes, epochs, batch_seqs,
        outcome_counts, transfer_counts, chain_hashes) AS part (partition_index, epoch, batch_seq,
        outcome_count, transfer_count, chain_hash)
) AS line
FULL JOIN (
    SELECT partition_index, batch_seq, count(*) AS row_count
    FROM order_outcome GROUP BY partition_index, batch_seq
) AS outcomes USING (partition_index, batch_seq)
FULL JOIN (
    SELECT partition_index, batch_seq, count(*) AS row_count
    FROM transfer GROUP BY partition_index, batch_seq
) AS transfers USING (partition_index, batch_seq)
LEFT JOIN (
    SELECT partition_index, epoch, batch_seq AS batch_seq_last FROM partition
) AS held USING (partition_index)
WINDOW in_order AS (PARTITION BY partition_index ORDER BY batch_seq);

-- chain --
-- Each link hashed anew from the stored rows and the link before it, then each partition's head
-- against its last link. The canonical form: integers big-endian, texts with their length in four
-- bytes (-1 for none), times in microseconds since 1970 behind a flag; outcomes by order_no, then
-- transfers by order_no and step.
WITH link AS (
    SELECT part.partition_index, part.batch_seq, part.chain_hash,
           lag(part.chain_hash, 1, decode(repeat('00', 32), 'hex')) OVER (
               PARTITION BY part.partition_index ORDER BY part.batch_seq) AS chain_hash_before,
           lead(part.batch_seq) OVER (
               PARTITION BY part.partition_index ORDER BY part.batch_seq) IS NULL AS is_last
    FROM ledger_batch CROSS JOIN LATERAL unnest(partition_indexes, batch_seqs, chain_hashes)
        AS part (partition_index, batch_seq, chain_hash)
), outcomes AS (
    SELECT partition_index, batch_seq, count(*) AS row_count, string_agg(
        int8send(order_no) || int2send(status) || int8send(amount_captured_minor)
        || int2send(attempt_no) || int8send(event_sequence::bigint) || int8send(fee_minor)
        || convert_to(currency::text, 'UTF8')
        || pg_temp.canonical_text(psp) || pg_temp.canonical_text(psp_reference)
        || pg_temp.canonical_text(failure_code) || pg_temp.canonical_text(decline_code)
        || pg_temp.canonical_text(failure_message) || pg_temp.canonical_time(effective_at),
        ''::bytea ORDER BY order_no) AS canonical
    FROM order_outcome GROUP BY partition_index, batch_seq
), transfers AS (
    SELECT partition_index, batch_seq, count(*) AS row_count, string_agg(
        int8send(order_no) || int2send(step) || int2send(kind) || int8send(debit_account_no)
        || int8send(credit_account_no) || int8send(amount_minor)
        || convert_to(currency::text, 'UTF8'),
        ''::bytea ORDER BY order_no, step) AS canonical
    FROM transfer GROUP BY partition_index, batch_seq
)
SELECT partition_index, batch_seq, CASE
    WHEN link.chain_hash <> sha256(link.chain_hash_before || int2send(partition_index)
        || int8send(batch_seq) || int4send(coalesce(outcomes.row_count, 0)::integer)
        || int4send(coalesce(transfers.row_count, 0)::integer)
        || coalesce(outcomes.canonical, ''::bytea) || coalesce(transfers.canonical, ''::bytea))
        THEN 'the chain breaks here: this batch''s rows, or its hash, are not those that were written'
    END AS finding
FROM link
LEFT JOIN outcomes USING (partition_index, batch_seq)
LEFT JOIN transfers USING (partition_index, batch_seq)
UNION ALL
SELECT held.partition_index, link.batch_seq, CASE
    WHEN held.chain_hash <> coalesce(link.chain_hash, decode(repeat('00', 32), 'hex'))
        THEN 'the partition''s head is not the hash of its last batch'
    END
FROM partition AS held
LEFT JOIN link ON link.partition_index = held.partition_index AND link.is_last;
