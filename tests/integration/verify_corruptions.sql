-- What a verification must name, done to copies of right books by a superuser: no role of ours may.
--
-- Each statement is followed by the check that must name it and, where there is one, the order that its
-- story must tell of. {paid}, {failed}, {open}, {acting} are conditions that find one order of each
-- kind, {paid_p} and {paid_n} its partition and number, {line} finds the line of its batch.

-- reference_of_another_payment --
-- named by references_are_unique of paid
UPDATE order_outcome SET psp_reference = (
    SELECT psp_reference FROM order_outcome JOIN payment_order USING (partition_index, order_no)
    WHERE status = 5 AND NOT ({paid}) ORDER BY partition_index DESC, order_no DESC LIMIT 1)
WHERE {paid};

-- reference_of_another_open_payment --
-- named by references_are_unique
UPDATE open_order SET psp_reference = 'ch_same' WHERE status = 3;

-- transfer_amount --
-- named by transfers_match_outcomes of paid
UPDATE transfer SET amount_minor = amount_minor + 1 WHERE {paid} AND step = 1;

-- transfer_lost --
-- named by transfers_match_outcomes of paid
DELETE FROM transfer WHERE {paid} AND step = 1;

-- fee_transfer_lost --
-- named by transfers_match_outcomes of paid
DELETE FROM transfer WHERE {paid} AND step = 2;

-- transfer_added --
-- named by transfers_match_outcomes of paid
INSERT INTO transfer SELECT partition_index, order_no, 3, batch_seq, kind, debit_account_no,
    credit_account_no, amount_minor, currency FROM transfer WHERE {paid} AND step = 1;

-- transfer_of_a_failed_order --
-- named by transfers_match_outcomes of failed
INSERT INTO transfer VALUES ({failed_p}, {failed_n}, 1, {failed_batch}, 1, 1, 2, 100, 'USD');

-- transfer_of_an_open_order --
-- named by transfers_match_outcomes of open
INSERT INTO transfer VALUES ({open_p}, {open_n}, 1, 1, 1, 1, 2, 100, 'USD');

-- transfer_currency --
-- named by transfers_match_outcomes of paid
UPDATE transfer SET currency = 'CHF' WHERE {paid} AND step = 1;

-- transfer_kind --
-- named by transfers_match_outcomes of paid
UPDATE transfer SET kind = 2 WHERE {paid} AND step = 1;

-- transfer_to_another_wallet --
-- named by transfers_match_outcomes of paid
UPDATE transfer SET credit_account_no = (SELECT account_no FROM account WHERE partition_index =
    {paid_p} AND kind = 1 AND account_no <> {paid_credit} LIMIT 1) WHERE {paid} AND step = 1;

-- transfer_turned_round --
-- named by transfers_match_outcomes of paid
UPDATE transfer SET debit_account_no = credit_account_no, credit_account_no = debit_account_no WHERE
    {paid} AND step = 1;

-- transfer_between_currencies --
-- named by currencies of paid
UPDATE transfer SET credit_account_no = (SELECT a.account_no FROM account a, account b WHERE
    a.partition_index = {paid_p} AND b.partition_index = {paid_p} AND b.account_no = {paid_credit} AND
    a.currency <> b.currency LIMIT 1) WHERE partition_index = {paid_p} AND order_no = {paid_n} AND step
    = 1;

-- transfer_batch --
-- named by batches
UPDATE transfer SET batch_seq = batch_seq + 1 WHERE {paid};

-- slice_balance --
-- named by slices of paid
UPDATE slice SET credits_posted_minor = credits_posted_minor + 100 WHERE partition_index = {paid_p}
    AND account_no = {paid_credit};

-- slice_debits --
-- named by slices of paid
UPDATE slice SET debits_posted_minor = 0 WHERE partition_index = {paid_p} AND account_no =
    {paid_debit};

-- slice_version --
-- named by slices of paid
UPDATE slice SET version = version + 1 WHERE partition_index = {paid_p} AND account_no =
    {paid_credit};

-- slice_pending --
-- named by slices of paid
UPDATE slice SET credits_pending_minor = 5 WHERE partition_index = {paid_p} AND account_no =
    {paid_credit};

-- slices_out_of_balance --
-- named by currencies
UPDATE slice SET credits_posted_minor = credits_posted_minor + 100 WHERE partition_index = {paid_p}
    AND account_no = {paid_credit};

-- slice_lost --
-- named by accounts of paid
DELETE FROM slice WHERE partition_index = {paid_p} AND account_no = {paid_credit};

-- slice_without_account --
-- named by accounts
INSERT INTO slice VALUES ({paid_p}, 999, 0, 0, 0);

-- account_lost --
-- named by accounts of paid
DELETE FROM account WHERE partition_index = {paid_p} AND account_no = {paid_credit};

-- account_holder --
-- named by accounts of paid
UPDATE account SET holder = '99999' WHERE partition_index = {paid_p} AND account_no = {paid_credit};

-- account_numbers --
-- named by accounts
UPDATE partition SET account_no_last = account_no_last + 1 WHERE partition_index = {paid_p};

-- wallet_view --
-- named by wallets
CREATE OR REPLACE VIEW entries AS SELECT partition_index, order_no, step, 'debit'::text AS side,
    debit_account_no AS account_no, amount_minor, currency, recorded_at FROM transfer;

-- outcome_amount --
-- named by outcomes_match_orders of paid
UPDATE order_outcome SET amount_captured_minor = amount_captured_minor - 1 WHERE {paid};

-- outcome_of_a_failure_captured --
-- named by outcomes_match_orders of failed
UPDATE order_outcome SET amount_captured_minor = 1 WHERE {failed};

-- outcome_fee --
-- named by outcomes_match_orders of paid
UPDATE order_outcome SET fee_minor = 0 WHERE {paid};

-- outcome_currency --
-- named by outcomes_match_orders of paid
UPDATE order_outcome SET currency = 'CHF' WHERE {paid};

-- outcome_psp --
-- named by outcomes_match_orders of paid
UPDATE order_outcome SET psp = 'other' WHERE {paid};

-- outcome_attempt --
-- named by outcomes_match_orders of paid
UPDATE order_outcome SET attempt_no = 2 WHERE {paid};

-- outcome_made_a_success --
-- named by outcomes_match_orders of failed
UPDATE order_outcome SET status = 5 WHERE {failed};

-- outcome_no_end --
-- named by outcomes_match_orders of failed
UPDATE order_outcome SET status = 2 WHERE {failed};

-- outcome_lost --
-- named by orders_stand_once of paid
DELETE FROM order_outcome WHERE {paid};

-- outcome_of_an_open_order --
-- named by orders_stand_once of open
INSERT INTO order_outcome SELECT {open_p}, {open_n}, batch_seq, status, 0, fee_minor, currency, 1,
    psp, NULL, failure_code, decline_code, failure_message, effective_at, 2 FROM order_outcome WHERE
    {failed};

-- outcome_twice --
-- named by orders_stand_once of paid
ALTER TABLE order_outcome DROP CONSTRAINT order_outcome_pkey;
INSERT INTO order_outcome SELECT * FROM order_outcome WHERE {paid};

-- outcome_message --
-- named by chain of failed
UPDATE order_outcome SET failure_message = 'Another reason.' WHERE {failed};

-- outcome_time --
-- named by chain of paid
UPDATE order_outcome SET effective_at = effective_at + interval '1 microsecond' WHERE {paid};

-- open_order_lost --
-- named by orders_stand_once of open
DELETE FROM open_order WHERE {open};

-- open_after_the_end --
-- named by orders_stand_once of paid
INSERT INTO open_order VALUES ({paid_p}, {paid_n}, 2, true, 1, 1);

-- open_without_order --
-- named by orders_stand_once
INSERT INTO open_order VALUES ({paid_p}, 9999, 2, true, 1, 1);

-- open_order_state --
-- named by events of acting
UPDATE open_order SET status = 2 WHERE partition_index = {acting_p} AND order_no = {acting_n};

-- order_lost --
-- named by orders_stand_once of paid
DELETE FROM payment_order WHERE {paid};

-- order_lost_whole --
-- named by order_numbers
DELETE FROM payment_order WHERE partition_index = {paid_p} AND order_no = {paid_last};
DELETE FROM operation WHERE partition_index = {paid_p} AND order_no = {paid_last};
DELETE FROM dispute WHERE partition_index = {paid_p} AND order_no = {paid_last};

-- order_amount --
-- named by outcomes_match_orders of paid
UPDATE payment_order SET amount_minor = amount_minor + 1 WHERE {paid};

-- order_identity --
-- named by order_identities of paid
UPDATE payment_order SET order_uuid = gen_random_uuid() WHERE {paid};

-- order_key --
-- named by order_identities of failed
UPDATE payment_order SET idempotency_key = gen_random_uuid() WHERE {failed};

-- order_mode --
-- named by order_identities of open
UPDATE payment_order SET mode = 2 WHERE {open};

-- order_seller --
-- named by order_parties of failed
UPDATE payment_order SET seller_no = 9999 WHERE {failed};

-- order_twice --
-- named by orders_are_unique of paid
DROP INDEX payment_order_uuid;
UPDATE partition SET order_no_last = order_no_last + 1 WHERE partition_index = {paid_p};
INSERT INTO payment_order SELECT partition_index, {paid_last} + 1, order_uuid, idempotency_key,
    merchant_no, mode, seller_no, amount_minor, currency, fee_minor, fingerprint, metadata, api_version,
    accepted_at FROM payment_order WHERE {paid};

-- order_number_last --
-- named by order_numbers
UPDATE partition SET order_no_last = order_no_last + 1 WHERE partition_index = {paid_p};

-- attempt_lost --
-- named by attempts of failed
DELETE FROM attempt WHERE {failed};

-- attempt_gap --
-- named by attempts of open
UPDATE attempt SET attempt_no = 2 WHERE {open};

-- attempt_added --
-- named by attempts of paid
INSERT INTO attempt SELECT partition_index, order_no, 2, psp, psp_account, left(psp_key, -1) || 'd',
    epoch FROM attempt WHERE {paid};

-- attempt_key --
-- named by attempts of paid
UPDATE attempt SET psp_key = 'tly_mine' WHERE {paid};

-- attempt_epoch --
-- named by attempts of paid
UPDATE attempt SET epoch = 99 WHERE {paid};

-- attempt_psp --
-- named by attempts of open
UPDATE attempt SET psp = 'elsewhere' WHERE {open};

-- event_lost --
-- named by events of paid
DELETE FROM event WHERE {paid} AND sequence = 1;

-- event_last_lost --
-- named by events of paid
DELETE FROM event WHERE {paid} AND sequence = 2;

-- event_type --
-- named by events of paid
UPDATE event SET type = 7 WHERE {paid} AND sequence = 2;

-- event_after_the_end --
-- named by events of paid
INSERT INTO event VALUES ({paid_p}, {paid_n}, 3, {paid_batch}, 2);

-- event_batch --
-- named by events of paid
UPDATE event SET batch_seq = 0 WHERE {paid} AND sequence = 2;

-- timer_left --
-- named by timers of paid
INSERT INTO timer VALUES ({paid_p}, {paid_n}, 1, now());

-- timer_kind --
-- named by timers of open
UPDATE timer SET kind = 8 WHERE {open};

-- timer_never --
-- named by timers of open
UPDATE timer SET due_at = 'infinity' WHERE {open};

-- checkout_without_orders --
-- named by checkouts
DELETE FROM checkout_order;

-- checkout_with_a_gap --
-- named by checkouts
DELETE FROM checkout_order WHERE position = 0;

-- checkout_with_an_order_twice --
-- named by checkouts
UPDATE checkout_order SET order_uuid = (SELECT order_uuid FROM checkout_order WHERE position = 0);

-- checkout_of_another_amount --
-- named by checkouts
UPDATE checkout_order SET amount_minor = amount_minor + 1 WHERE position = 1;

-- refused_alike --
-- named by refused_requests
UPDATE refused_request SET fingerprint = (SELECT fingerprint FROM payment_order o WHERE o.order_uuid
    = refused_request.order_uuid);

-- refused_for_nothing --
-- named by refused_requests
UPDATE refused_request SET order_uuid = gen_random_uuid();

-- batch_hash --
-- named by chain of paid
UPDATE ledger_batch SET chain_hashes[{at_line}] = sha256('x') WHERE {line};

-- batch_count --
-- named by batches of paid
UPDATE ledger_batch SET outcome_counts[{at_line}] = 99 WHERE {line};

-- batch_lost --
-- named by batches
DELETE FROM ledger_batch WHERE {line};

-- batch_twice --
-- named by batches
INSERT INTO ledger_batch (partition_indexes, epochs, batch_seqs, outcome_counts, transfer_counts,
    chain_hashes) SELECT partition_indexes, epochs, batch_seqs, outcome_counts, transfer_counts,
    chain_hashes FROM ledger_batch WHERE {line};

-- batch_epoch --
-- named by batches of paid
UPDATE ledger_batch SET epochs[{at_line}] = 77 WHERE {line};

-- batch_ragged --
-- named by batches
UPDATE ledger_batch SET epochs = epochs[2:] WHERE {line};

-- batch_from_the_future --
-- named by partitions
UPDATE partition SET batch_seq = 1 WHERE partition_index = {paid_p};

-- chain_head --
-- named by chain
UPDATE partition SET chain_hash = sha256('x') WHERE partition_index = {paid_p};

-- partition_lost --
-- named by partitions
DELETE FROM partition WHERE partition_index = {paid_p};

-- partition_foreign --
-- named by partitions
INSERT INTO partition (partition_index, chain_hash) VALUES (99, sha256('x'));

-- order_moved_to_a_foreign_partition --
-- named by order_identities
UPDATE deployment SET partition_count = 17;

-- set_aside_without_letter --
-- named by set_aside_orders
ALTER TABLE set_aside_order DROP CONSTRAINT set_aside_order_dead_letter_no_fkey;
UPDATE set_aside_order SET dead_letter_no = 99 WHERE dead_letter_no = 1;

-- set_aside_of_another_letter --
-- named by set_aside_orders
UPDATE set_aside_order SET dead_letter_no = 2 WHERE dead_letter_no = 1;

-- set_aside_of_another_merchant --
-- named by set_aside_orders
UPDATE set_aside_order SET merchant_no = merchant_no + 1 WHERE dead_letter_no = 1;

-- discarded_and_taken_in --
-- named by set_aside_orders of paid
UPDATE dead_letter_result SET result = 2, recorded_at = recorded_at - interval '1 hour' WHERE dead_letter_no = 3;

-- replayed_and_not_there --
-- named by set_aside_orders
UPDATE dead_letter_result SET result = 1 WHERE dead_letter_no = 2;

-- letter_action_not_audited --
-- named by letter_actions
DELETE FROM audit WHERE action = 'dead_letter.discard';

-- letter_action_with_another_reason --
-- named by letter_actions
UPDATE dead_letter_action SET reason = 'another' WHERE dead_letter_no = 2;

-- letter_result_from_nowhere --
-- named by letter_actions
ALTER TABLE dead_letter_result DROP CONSTRAINT dead_letter_result_action_no_fkey;
UPDATE dead_letter_result SET action_no = 99 WHERE dead_letter_no = 2;

-- letter_result_of_another_kind --
-- named by letter_actions
UPDATE dead_letter_action SET action = 2 WHERE dead_letter_no = 3;

-- parked_and_ended --
-- named by parked_orders of paid
INSERT INTO parked_order VALUES ({paid_p}, {paid_n}, 'kills_host', '');

-- letter_action_forgotten --
-- named by letter_actions
DELETE FROM dead_letter_result WHERE dead_letter_no = 2;

-- letter_action_waits_for_ever --
-- named by letter_actions
INSERT INTO dead_letter_pending SELECT partition_index, action_no FROM dead_letter_action
WHERE dead_letter_no = 2;

-- evidence_forgotten --
-- named by evidence of paid
DELETE FROM evidence_result WHERE evidence_no = 1;

-- evidence_waits_for_ever --
-- named by evidence of paid
INSERT INTO evidence_pending SELECT partition_index, evidence_no FROM evidence WHERE evidence_no = 1;

-- evidence_lost_its_place --
-- named by evidence
DELETE FROM evidence_pending;

-- evidence_accepted_of_an_open_order --
-- named by evidence of open
UPDATE evidence_result SET result = 1 WHERE evidence_no = 3;

-- evidence_of_another_amount --
-- named by evidence of paid
UPDATE evidence SET captured_minor = captured_minor + 1 WHERE evidence_no = 1;

-- evidence_said_not_charged --
-- named by evidence of paid
UPDATE evidence SET result = 2 WHERE evidence_no = 1;

-- evidence_said_charged --
-- named by evidence of failed
UPDATE evidence SET result = 1 WHERE evidence_no = 2;

-- evidence_of_another_attempt --
-- named by evidence of paid
UPDATE evidence SET attempt_no = 2 WHERE evidence_no = 1;

-- evidence_in_another_batch --
-- named by evidence of paid
UPDATE evidence_result SET batch_seq = batch_seq - 1 WHERE evidence_no = 1;

-- evidence_not_audited --
-- named by evidence of paid
DELETE FROM audit WHERE detail ->> 'evidence_no' = '1';

-- evidence_with_another_text --
-- named by evidence of paid
UPDATE evidence SET text = 'seen somewhere else' WHERE evidence_no = 1;

-- evidence_result_from_nowhere --
-- named by evidence
ALTER TABLE evidence_result DROP CONSTRAINT evidence_result_evidence_no_fkey;
INSERT INTO evidence_result VALUES (99, 0, 1, 2, '');

-- evidence_accepted_twice --
-- named by ended_by_one_word of paid
INSERT INTO evidence_result SELECT evidence_no, partition_index, 1, 1, '' FROM evidence
WHERE evidence_no = 4;
UPDATE evidence SET partition_index = {paid_p}, order_no = {paid_n} WHERE evidence_no = 4;

-- order_ended_by_evidence_and_event --
-- named by ended_by_one_word of paid
UPDATE psp_event_result SET result = 1 WHERE result = 2;

-- event_kept_twice --
-- named by ended_by_one_word
INSERT INTO psp_event SELECT partition_index, md5('other')::uuid, psp, event_id, order_uuid, attempt_no,
    result, reference, captured_minor, currency, failure_code, decline_code, message, effective_at,
    accepted_at FROM psp_event WHERE event_id = 'evt_1';

-- event_forgotten --
-- named by psp_events of paid
DELETE FROM psp_event_result WHERE result = 2;

-- event_lost_its_place --
-- named by psp_events of open
DELETE FROM psp_event_pending;

-- event_waits_for_ever --
-- named by psp_events of paid
INSERT INTO psp_event_pending SELECT partition_index, event_uuid FROM psp_event_result WHERE result = 2;

-- event_of_another_amount --
-- named by psp_events of paid
UPDATE psp_event SET captured_minor = captured_minor + 1 WHERE event_id = 'evt_2';

-- event_of_another_currency --
-- named by psp_events of paid
UPDATE psp_event SET currency = 'SEK' WHERE event_id = 'evt_2';

-- event_of_a_decline --
-- named by psp_events of paid
UPDATE psp_event SET result = 2 WHERE event_id = 'evt_2';

-- event_of_another_psp --
-- named by psp_events of paid
UPDATE psp_event SET psp = 'elsewhere' WHERE event_id = 'evt_2';

-- event_applied_in_another_batch --
-- named by psp_events
UPDATE psp_event_result SET batch_seq = batch_seq - 1 WHERE result = 1;

-- event_applied_to_an_open_order --
-- named by psp_events of open
INSERT INTO psp_event_result
SELECT told.partition_index, event_uuid, 1, {open_n}, 1, '' FROM psp_event AS told
WHERE event_id = 'evt_3';
DELETE FROM psp_event_pending;

-- event_not_audited --
-- named by psp_events
DELETE FROM audit WHERE action = 'payment.psp_event';

-- event_result_from_nowhere --
-- named by psp_events
ALTER TABLE psp_event_result DROP CONSTRAINT psp_event_result_partition_index_event_uuid_fkey;
INSERT INTO psp_event_result VALUES (0, md5('nowhere')::uuid, 1, NULL, 5, '');

-- operation_of_another_merchant --
-- named by operations
UPDATE operation SET merchant_no = merchant_no + 1 WHERE kind = 3;

-- operation_event_lost --
-- named by operations
DELETE FROM event USING operation AS op
WHERE event.partition_index = op.partition_index AND event.order_no = op.order_no
    AND op.kind = 2 AND event.sequence = 2;

-- refund_transfer_amount --
-- named by operation_transfers
UPDATE transfer SET amount_minor = transfer.amount_minor + 1 FROM operation AS op
WHERE transfer.partition_index = op.partition_index AND transfer.order_no = op.order_no AND op.kind = 3;

-- capture_without_its_transfers --
-- named by operation_transfers
DELETE FROM transfer USING operation AS op
WHERE transfer.partition_index = op.partition_index AND transfer.order_no = op.order_no AND op.kind = 1;

-- release_to_another_account --
-- named by operation_transfers
UPDATE transfer SET credit_account_no = transfer.debit_account_no, debit_account_no = transfer.credit_account_no
FROM operation AS op
WHERE transfer.partition_index = op.partition_index AND transfer.order_no = op.order_no AND op.kind = 2;

-- captured_more_than_its_operations --
-- named by standings
UPDATE payment_standing SET captured_minor = captured_minor + 1 WHERE status = 6;

-- refund_forgotten --
-- named by standings
UPDATE payment_standing SET refunded_minor = 0 WHERE refunded_minor > 0;

-- standing_lost --
-- named by standings
DELETE FROM payment_standing WHERE status = 4;

-- refund_in_flight_above --
-- named by standings
INSERT INTO operation SELECT partition_index, 1000000, gen_random_uuid(), 3, payment_no,
    gen_random_uuid(), merchant_no, mode, 4000, currency, fingerprint, api_version, accepted_at
FROM operation WHERE kind = 3 AND amount_minor = 500;

-- hold_without_its_timer --
-- named by timers
DELETE FROM timer WHERE kind = 5;

-- pending_moved --
-- named by slices
UPDATE slice SET credits_pending_minor = credits_pending_minor + 1 WHERE credits_pending_minor > 0;

-- dispute_amount --
-- named by disputes
UPDATE dispute SET amount_minor = amount_minor - 1 WHERE status = 1;

-- dispute_won_instead --
-- named by disputes
UPDATE dispute SET status = 2 WHERE status = 3;

-- dispute_transfer_lost --
-- named by disputes
DELETE FROM transfer USING dispute
WHERE transfer.partition_index = dispute.partition_index AND transfer.order_no = dispute.order_no
    AND transfer.kind = 9;

-- dispute_on_accounts_of_another_currency --
-- named by disputes
UPDATE account SET currency = 'XXX' FROM transfer, dispute
WHERE dispute.status = 1 AND transfer.partition_index = dispute.partition_index
    AND transfer.order_no = dispute.order_no AND account.partition_index = transfer.partition_index
    AND account.account_no IN (transfer.debit_account_no, transfer.credit_account_no);

-- dispute_lost --
-- named by disputes
DELETE FROM dispute WHERE status = 1;

-- split_amount --
-- named by splits
UPDATE payment_split SET amount_minor = amount_minor + 1 WHERE position = 0;

-- split_lost --
-- named by splits
DELETE FROM payment_split WHERE position = 1;

-- split_of_nobody --
-- named by splits
UPDATE payment_split SET seller_no = 9999 WHERE position = 0;

-- split_refunded_above_what_it_got --
-- named by splits
UPDATE transfer SET amount_minor = amount_minor + 5000 WHERE kind = 6 AND step = 2;

-- split_fees_exchanged --
-- named by splits
UPDATE transfer SET amount_minor = other.amount_minor FROM transfer AS other
WHERE transfer.partition_index = other.partition_index AND transfer.order_no = other.order_no
    AND transfer.kind = 2 AND other.kind = 2 AND (transfer.step, other.step) IN ((2, 6), (6, 2));

-- split_charged_to_another_wallet --
-- named by transfers_match_outcomes
UPDATE transfer SET credit_account_no = other.credit_account_no FROM transfer AS other
WHERE transfer.partition_index = other.partition_index AND transfer.order_no = other.order_no
    AND transfer.kind = 1 AND transfer.step = 1 AND other.step = 3;

-- split_refunds_exchanged --
-- named by operation_transfers
UPDATE transfer SET debit_account_no = other.debit_account_no FROM transfer AS other
WHERE transfer.partition_index = other.partition_index AND transfer.order_no = other.order_no
    AND transfer.kind = 6 AND transfer.step = 1 AND other.step = 2;

-- split_won_otherwise --
-- named by disputes
UPDATE transfer SET amount_minor = amount_minor + CASE step WHEN 4 THEN 1 ELSE -1 END
WHERE kind = 9 AND step IN (4, 5);
