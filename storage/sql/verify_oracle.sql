-- Checks of `tally verify`: what one PSP recorded against the books. $1 is the PSP's name.

-- charges_are_booked --
-- $2 is how many charges the PSP had before the snapshot: their attempts were committed before, so
-- their orders are in it. Charges of orders that are open, or newer, are in flight; so are those of which
-- an operation is open, and those that the PSP changed after it had made $3 changes, which was before, too.
-- What an attempt asked for was fixed before its call, so amount and currency are looked at in any state.
-- A charge that was declined, or that the PSP gave back, took nothing; it has to agree with an outcome all
-- the same where that says that this very attempt was authorized.
SELECT charge.n, charge.reference, o.partition_index, o.order_no, CASE
    WHEN NOT charge.is_ours THEN 'its key is not one of the merchant''s order that it names'
    WHEN o.order_no IS NULL AND charge.n <= $2::bigint THEN 'the books know no such order'
    WHEN least(charge.captured_minor, charge.refunded_minor, charge.charged_back_minor) < 0
        OR greatest(charge.refunded_minor, charge.charged_back_minor) > charge.captured_minor THEN format(
        'captured %s, refunded %s and charged back %s, which can''t be', charge.captured_minor,
        charge.refunded_minor, charge.charged_back_minor)
    WHEN o.order_no IS NULL THEN NULL
    WHEN (charge.amount_minor, charge.currency) <> (o.amount_minor, o.currency::text) THEN format(
        'is of %s %s, and its order of %s %s', charge.amount_minor, charge.currency, o.amount_minor, o.currency)
    -- An open order may have had another attempt since the snapshot.
    WHEN charge.attempt_no > coalesce(ended.attempt_no, CASE WHEN charge.n <= $2::bigint THEN running.attempt_no END)
        THEN format('was made by attempt %s, and its order has %s', charge.attempt_no,
            coalesce(ended.attempt_no, running.attempt_no))
    WHEN running.status IS NOT NULL THEN NULL
    WHEN ended.status IS NULL THEN 'its order is neither open nor ended'
    -- What is done to it at this moment: its own rows tell when it has ended.
    WHEN moving.is_open OR charge.changed_n > $3::bigint THEN NULL
    WHEN charge.captured_minor = 0 AND booked.captured_minor > 0 AND ended.attempt_no = charge.attempt_no
        THEN 'nothing was captured, and the books say it succeeded'
    WHEN charge.captured_minor = 0 AND charge.status <> 'authorized'
        AND (ended.status, ended.attempt_no) <> (4, charge.attempt_no) THEN NULL
    WHEN ended.status NOT IN (4, 5) THEN format('%s, and its order ended without a charge (state %s)',
        took.told, ended.status)
    WHEN ended.attempt_no <> charge.attempt_no THEN format(
        '%s by attempt %s, and the order ended by attempt %s', took.told, charge.attempt_no, ended.attempt_no)
    WHEN ended.psp IS DISTINCT FROM charge.psp THEN format('the books have it at PSP %s', ended.psp)
    WHEN ended.psp_reference IS DISTINCT FROM charge.reference THEN format(
        'the books know it as %s', ended.psp_reference)
    WHEN charge.captured_minor = 0
        AND charge.status <> CASE stands.status WHEN 4 THEN 'authorized' ELSE 'voided' END
        THEN format('was %s, and the books say it is %s', charge.status,
            CASE stands.status WHEN 4 THEN 'held' ELSE 'given back' END)
    WHEN ended.currency <> charge.currency THEN format(
        'captured %s, and the books say %s', charge.currency, ended.currency)
    WHEN booked.captured_minor <> charge.captured_minor THEN format(
        'captured %s, and the books say %s', charge.captured_minor, booked.captured_minor)
    -- What the PSP told of a dispute may still be on its way.
    WHEN booked.lost_minor > charge.charged_back_minor THEN format(
        'charged %s back, and the books say %s', charge.charged_back_minor, booked.lost_minor)
    WHEN booked.refunded_minor <> charge.refunded_minor THEN format(
        'refunded %s, and the books say %s', charge.refunded_minor, booked.refunded_minor)
    END AS finding,
    CASE
    WHEN running.status IS NOT NULL OR moving.is_open THEN 'open'
    WHEN o.order_no IS NULL AND charge.is_ours AND charge.n > $2::bigint THEN 'newer'
    WHEN o.order_no IS NOT NULL AND charge.changed_n > $3::bigint THEN 'newer'
    END AS in_flight
FROM oracle_charge AS charge
LEFT JOIN payment_order AS o ON charge.is_ours
    AND o.partition_index = charge.partition_index AND o.order_uuid = charge.order_uuid
LEFT JOIN order_outcome AS ended
    ON ended.partition_index = o.partition_index AND ended.order_no = o.order_no
LEFT JOIN open_order AS running
    ON running.partition_index = o.partition_index AND running.order_no = o.order_no
LEFT JOIN payment_standing AS stands
    ON stands.partition_index = o.partition_index AND stands.order_no = o.order_no
LEFT JOIN (
    SELECT DISTINCT op.partition_index, op.payment_no, true AS is_open
    FROM open_order JOIN operation AS op USING (partition_index, order_no)
) AS moving ON moving.partition_index = o.partition_index AND moving.payment_no = o.order_no
CROSS JOIN LATERAL (
    SELECT coalesce(stands.captured_minor, ended.amount_captured_minor) AS captured_minor,
           coalesce(stands.refunded_minor, 0) AS refunded_minor,
           (SELECT coalesce(sum(given.amount_minor), 0) FROM dispute AS given
            WHERE given.partition_index = o.partition_index AND given.payment_no = o.order_no
                AND given.status = 3) AS lost_minor
) AS booked
CROSS JOIN LATERAL (
    SELECT CASE charge.captured_minor WHEN 0 THEN format('holds %s', charge.amount_minor)
        ELSE format('captured %s', charge.captured_minor) END AS told
) AS took
WHERE charge.psp = $1::text;

-- transfers_are_charged --
-- The other way round: each charge transfer (kind 1) has the one charge that its order names; those of several
-- sellers share one, and sum to it. Two orders can't share one, because a charge names its order.
SELECT moved.partition_index, moved.order_no, CASE
    WHEN charge.n IS NULL THEN 'the PSP captured nothing for it'
    WHEN charge.reference <> ended.psp_reference THEN format(
        'is for charge %s, and the PSP captured %s', ended.psp_reference, charge.reference)
    WHEN charge.captured_minor <> coalesce(parted.parts_minor, moved.amount_minor) THEN format(
        'moved %s, and the PSP captured %s', coalesce(parted.parts_minor, moved.amount_minor),
        charge.captured_minor)
    WHEN charge.currency <> moved.currency THEN format(
        'moved %s, and the PSP captured %s', moved.currency, charge.currency)
    END AS finding
FROM transfer AS moved
JOIN order_outcome AS ended USING (partition_index, order_no)
JOIN payment_order AS o USING (partition_index, order_no)
LEFT JOIN (
    SELECT partition_index, order_no, sum(t.amount_minor) AS parts_minor
    FROM parted JOIN transfer AS t USING (partition_index, order_no)
    WHERE t.kind = 1 GROUP BY partition_index, order_no
) AS parted USING (partition_index, order_no)
LEFT JOIN oracle_charge AS charge ON charge.psp = $1::text AND charge.is_ours
    AND charge.captured_minor > 0
    AND charge.partition_index = o.partition_index AND charge.order_uuid = o.order_uuid
WHERE moved.kind = 1 AND ended.psp = $1::text
UNION ALL
-- What was authorized has its one charge, too, captured or not; its amounts are looked at above.
SELECT ended.partition_index, ended.order_no, CASE
    WHEN charge.n IS NULL THEN 'was authorized, and the PSP recorded no such charge'
    WHEN stands.captured_minor > 0 AND charge.captured_minor = 0 THEN format(
        'captured %s, and the PSP captured nothing', stands.captured_minor)
    END AS finding
FROM order_outcome AS ended
JOIN payment_order AS o USING (partition_index, order_no)
LEFT JOIN payment_standing AS stands USING (partition_index, order_no)
LEFT JOIN oracle_charge AS charge ON charge.psp = $1::text AND charge.is_ours
    AND charge.partition_index = o.partition_index AND charge.order_uuid = o.order_uuid
    AND charge.attempt_no = ended.attempt_no
WHERE ended.status = 4 AND ended.psp = $1::text;

-- references_recorded_once --
-- The books know a charge by its reference alone, so no two of one PSP have the same, whatever became of them.
SELECT min(n) AS n, reference, CASE
    WHEN count(*) > 1 THEN format('is the reference of %s charges', count(*))
    END AS finding
FROM oracle_charge WHERE psp = $1::text GROUP BY reference;

-- orders_charged_once --
-- One successful charge for each merchant, key and mode, under whatever key at whichever PSP: this
-- one's orders, with what all PSPs charged for them.
SELECT max(n) FILTER (WHERE psp = $1::text) AS n, charge.order_uuid::text AS order_uuid, CASE
    WHEN count(DISTINCT psp) > 1 THEN format(
        'was charged %s times, by %s', count(*), string_agg(DISTINCT psp, ' and '))
    WHEN count(*) > 1 THEN format('was charged %s times', count(*))
    END AS finding
FROM oracle_charge AS charge
WHERE captured_minor > 0 AND order_uuid IS NOT NULL
GROUP BY charge.order_uuid
HAVING bool_or(psp = $1::text);

-- evidence_is_charged --
-- What ended an order on somebody's word is what the PSP recorded: a charge of its attempt, or none.
SELECT said.partition_index, said.order_no, CASE
    WHEN said.is_charged AND charge.n IS NULL THEN format(
        '%s said charged, and the PSP captured nothing', said.word)
    WHEN NOT said.is_charged AND charge.n IS NOT NULL THEN format(
        '%s said not charged, and the PSP captured %s', said.word, charge.captured_minor)
    WHEN said.captured_minor <> charge.captured_minor OR said.currency <> charge.currency THEN format(
        '%s said %s %s, and the PSP captured %s %s', said.word, said.captured_minor, said.currency,
        charge.captured_minor, charge.currency)
    END AS finding
FROM (
    SELECT given.partition_index, given.order_no, given.attempt_no, given.result = 1 AS is_charged,
        given.captured_minor, given.currency, format('evidence %s', evidence_no) AS word
    FROM evidence_result JOIN evidence AS given USING (evidence_no) WHERE evidence_result.result = 1
    UNION ALL
    SELECT judged.partition_index, judged.order_no, told.attempt_no, told.result = 1,
        told.captured_minor, told.currency, format('event %s', told.event_id)
    FROM psp_event_result AS judged JOIN psp_event AS told USING (partition_index, event_uuid)
    WHERE judged.result = 1 AND told.dispute_id IS NULL
) AS said
JOIN payment_order AS o USING (partition_index, order_no)
JOIN attempt AS tried
    ON tried.partition_index = said.partition_index AND tried.order_no = said.order_no
    AND tried.attempt_no = said.attempt_no AND tried.psp = $1::text
LEFT JOIN oracle_charge AS charge ON charge.psp = $1::text AND charge.is_ours
    AND charge.captured_minor > 0 AND charge.attempt_no = said.attempt_no
    AND charge.partition_index = o.partition_index AND charge.order_uuid = o.order_uuid;
