-- Checks of `tally verify`: what was said of charges by people, settlement reports and PSPs' events, and
-- what became of it. A word that ended an order is accepted evidence (result 1) or an applied event (1).

-- evidence --
-- Each piece waits or has a result, never both; the accepted one ended its order, as it said.
SELECT said.partition_index, said.order_no, said.evidence_no, CASE
    WHEN tried.psp IS NULL THEN 'of an attempt that does not exist'
    WHEN decided.evidence_no IS NULL AND waiting.evidence_no IS NULL
        THEN 'has no result, and does not wait for one'
    WHEN decided.evidence_no IS NOT NULL AND waiting.evidence_no IS NOT NULL
        THEN 'has a result, and waits for one'
    WHEN waiting.partition_index <> said.partition_index
        OR decided.partition_index <> said.partition_index
        THEN 'waits, or was decided, in another partition'
    WHEN NOT EXISTS (
        SELECT FROM audit
        WHERE audit.action = 'payment.evidence' AND audit.actor = said.actor
            AND audit.subject = o.order_uuid::text
            AND audit.detail ->> 'evidence_no' = said.evidence_no::text
            AND audit.detail ->> 'text' = said.text)
        THEN 'is not in the audit as it was given'
    WHEN decided.batch_seq > held.batch_seq THEN format(
        'decided in batch %s, and its partition''s last one is %s', decided.batch_seq, held.batch_seq)
    WHEN decided.result IS DISTINCT FROM 1 THEN NULL
    WHEN ended.status IS NULL THEN 'accepted, and its order has not ended'
    WHEN ended.batch_seq <> decided.batch_seq THEN format(
        'accepted in batch %s, and its order ended in batch %s', decided.batch_seq, ended.batch_seq)
    WHEN ended.attempt_no <> said.attempt_no THEN format(
        'of attempt %s, and its order ended by attempt %s', said.attempt_no, ended.attempt_no)
    WHEN said.result = 1 AND ended.status <> 5 THEN format(
        'said charged, and its order ended in state %s', ended.status)
    WHEN said.result = 1 AND (said.captured_minor, said.currency)
        IS DISTINCT FROM (ended.amount_captured_minor, ended.currency::text) THEN format(
        'said %s %s, and the books hold %s %s', said.captured_minor, said.currency,
        ended.amount_captured_minor, ended.currency)
    WHEN said.result = 2 AND ended.status <> 7 THEN format(
        'said not charged, and its order ended in state %s', ended.status)
    END AS finding
FROM evidence AS said
LEFT JOIN evidence_pending AS waiting USING (evidence_no)
LEFT JOIN evidence_result AS decided USING (evidence_no)
LEFT JOIN payment_order AS o
    ON o.partition_index = said.partition_index AND o.order_no = said.order_no
LEFT JOIN attempt AS tried
    ON tried.partition_index = said.partition_index AND tried.order_no = said.order_no
    AND tried.attempt_no = said.attempt_no
LEFT JOIN order_outcome AS ended
    ON ended.partition_index = said.partition_index AND ended.order_no = said.order_no
LEFT JOIN partition AS held ON held.partition_index = said.partition_index
UNION ALL
SELECT decided.partition_index, NULL, decided.evidence_no, 'a result of evidence that nobody gave'
FROM evidence_result AS decided LEFT JOIN evidence AS said USING (evidence_no)
WHERE said.evidence_no IS NULL;

-- psp_events --
-- Each event waits or has a result, never both; the applied one ended its order, as it said, and the one
-- that agrees has not been contradicted since.
SELECT told.partition_index, o.order_no, told.event_id, CASE
    WHEN judged.event_uuid IS NULL AND waiting.event_uuid IS NULL
        THEN 'has no result, and does not wait for one'
    WHEN judged.event_uuid IS NOT NULL AND waiting.event_uuid IS NOT NULL
        THEN 'has a result, and waits for one'
    WHEN judged.batch_seq > held.batch_seq THEN format(
        'judged in batch %s, and its partition''s last one is %s', judged.batch_seq, held.batch_seq)
    WHEN judged.result IN (1, 2) AND o.order_no IS NULL THEN 'applied, or agrees, without its order'
    WHEN judged.order_no IS NOT NULL AND judged.order_no IS DISTINCT FROM o.order_no
        THEN format('judged of order %s', judged.order_no)
    WHEN judged.result IN (1, 2) AND tried.psp IS DISTINCT FROM told.psp
        THEN format('of %s, and its attempt is at %s', told.psp, coalesce(tried.psp, 'none'))
    -- What it tells of a dispute is held against that (see disputes).
    WHEN told.dispute_id IS NOT NULL THEN NULL
    WHEN judged.result = 1 AND ended.status IS NULL THEN 'applied, and its order has not ended'
    WHEN judged.result = 1 AND ended.batch_seq <> judged.batch_seq THEN format(
        'applied in batch %s, and its order ended in batch %s', judged.batch_seq, ended.batch_seq)
    WHEN judged.result = 1 AND ended.attempt_no <> told.attempt_no THEN format(
        'of attempt %s, and its order ended by attempt %s', told.attempt_no, ended.attempt_no)
    -- Of one that was authorized (4) the amounts are the operations' affair.
    WHEN judged.result IN (1, 2) AND told.result = 1 AND ended.status = 4 THEN NULL
    WHEN judged.result IN (1, 2) AND told.result = 1 AND ended.status IS DISTINCT FROM 5 THEN format(
        'told of a charge, and its order ended in state %s', ended.status)
    WHEN judged.result IN (1, 2) AND told.result = 1 AND (told.captured_minor, told.currency)
        IS DISTINCT FROM (ended.amount_captured_minor, ended.currency::text) THEN format(
        'told of %s %s, and the books hold %s %s', told.captured_minor, told.currency,
        ended.amount_captured_minor, ended.currency)
    WHEN judged.result IN (1, 2) AND told.result IN (2, 6) AND ended.status = 5
        AND ended.attempt_no = told.attempt_no
        THEN 'told of no charge, and its order succeeded'
    WHEN judged.result = 1 AND audited.subject IS NULL THEN 'applied, and not in the audit'
    END AS finding
FROM psp_event AS told
LEFT JOIN psp_event_pending AS waiting USING (partition_index, event_uuid)
LEFT JOIN psp_event_result AS judged USING (partition_index, event_uuid)
-- An operation has a name and a number as an order has, and its PSP tells of it under its own key.
LEFT JOIN (
    SELECT partition_index, order_no, order_uuid FROM payment_order
    UNION ALL
    SELECT partition_index, order_no, operation_uuid FROM operation
) AS o ON o.partition_index = told.partition_index AND o.order_uuid = told.order_uuid
LEFT JOIN attempt AS tried
    ON tried.partition_index = o.partition_index AND tried.order_no = o.order_no
    AND tried.attempt_no = told.attempt_no
LEFT JOIN order_outcome AS ended
    ON ended.partition_index = o.partition_index AND ended.order_no = o.order_no
LEFT JOIN partition AS held ON held.partition_index = told.partition_index
-- Joined: looked up for each event, an audit without an index on it would be read as often.
LEFT JOIN (
    SELECT DISTINCT subject, detail ->> 'event_id' AS event_id
    FROM audit WHERE action = 'payment.psp_event'
) AS audited
    ON audited.subject = told.order_uuid::text AND audited.event_id = told.event_id
UNION ALL
SELECT judged.partition_index, judged.order_no, NULL, 'a result of an event that nobody told'
FROM psp_event_result AS judged LEFT JOIN psp_event AS told USING (partition_index, event_uuid)
WHERE told.event_uuid IS NULL;

-- ended_by_one_word --
-- No order was ended by two of them, and no event was told twice.
SELECT said.partition_index, said.order_no, CASE
    WHEN count(*) > 1 THEN format('ended by %s', string_agg(said.word, ' and ' ORDER BY said.word))
    END AS finding
FROM (
    SELECT given.partition_index, given.order_no, format('evidence %s', evidence_no) AS word
    FROM evidence_result JOIN evidence AS given USING (evidence_no) WHERE evidence_result.result = 1
    UNION ALL
    SELECT judged.partition_index, judged.order_no, format('event %s', judged.event_uuid)
    FROM psp_event_result AS judged JOIN psp_event AS told USING (partition_index, event_uuid)
    WHERE judged.result = 1 AND told.dispute_id IS NULL
) AS said
GROUP BY said.partition_index, said.order_no
UNION ALL
SELECT min(partition_index), NULL, format('event %s of %s was kept %s times', event_id, psp, count(*))
FROM psp_event GROUP BY psp, event_id HAVING count(*) > 1;
