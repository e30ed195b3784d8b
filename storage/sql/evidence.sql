-- Evidence of what became of attempts, for the command line.

-- attempts --
-- What the books hold of attempts, by partition ($1), order or operation ($2) and number ($3; NULL for the
-- latest one). Without a row: no such order or operation, or attempt. Of a payment that was operated on since it
-- ended, how it stands now: an authorization ends with nothing captured, and is captured later.
SELECT wanted.position, o.partition_index, o.order_no, o.order_uuid, o.amount_minor, o.currency,
    tried.attempt_no, tried.psp, running.attempt_no AS open_attempt_no, running.is_outcome_known,
    coalesce(stands.status, ended.status) AS ended_status, ended.attempt_no AS ended_attempt_no,
    coalesce(stands.captured_minor, ended.amount_captured_minor) AS amount_captured_minor,
    EXISTS (SELECT FROM operation AS capture JOIN open_order AS under_way
                ON under_way.partition_index = capture.partition_index
                AND under_way.order_no = capture.order_no
            WHERE capture.partition_index = o.partition_index AND capture.payment_no = o.order_no
                AND capture.kind = 1) AS is_capture_open,
    ended.currency AS ended_currency, ended.failure_code,
    EXISTS (SELECT FROM parked_order AS parked
            WHERE parked.partition_index = o.partition_index AND parked.order_no = o.order_no)
        AS is_parked
FROM unnest($1::smallint[], $2::uuid[], $3::smallint[])
    WITH ORDINALITY AS wanted (partition_index, order_uuid, attempt_no, position)
JOIN LATERAL (
    SELECT partition_index, order_no, order_uuid, amount_minor, currency FROM payment_order
    WHERE payment_order.partition_index = wanted.partition_index
        AND payment_order.order_uuid = wanted.order_uuid
    UNION ALL
    SELECT partition_index, order_no, operation_uuid, amount_minor, currency FROM operation
    WHERE operation.partition_index = wanted.partition_index
        AND operation.operation_uuid = wanted.order_uuid
) AS o ON true
LEFT JOIN open_order AS running
    ON running.partition_index = o.partition_index AND running.order_no = o.order_no
LEFT JOIN order_outcome AS ended
    ON ended.partition_index = o.partition_index AND ended.order_no = o.order_no
LEFT JOIN payment_standing AS stands
    ON stands.partition_index = o.partition_index AND stands.order_no = o.order_no
JOIN attempt AS tried
    ON tried.partition_index = o.partition_index AND tried.order_no = o.order_no
    AND tried.attempt_no = coalesce(wanted.attempt_no, running.attempt_no, ended.attempt_no);

-- give --
-- Evidence with its audit row, whole or not at all; nothing where the attempt is not the open one of an
-- order whose outcome is unknown. Its owner looks again before it acts.
WITH wanted AS (
    INSERT INTO evidence (partition_index, order_no, attempt_no, source, result, reference,
        captured_minor, currency, effective_at, actor, text)
    SELECT said.partition_index, said.order_no, said.attempt_no, said.source, said.result,
        said.reference, said.captured_minor, said.currency, said.effective_at, $10, $11
    FROM unnest($1::smallint[], $2::bigint[], $3::smallint[], $4::smallint[], $5::smallint[],
        $6::text[], $7::bigint[], $8::text[], $9::timestamptz[])
        AS said (partition_index, order_no, attempt_no, source, result, reference, captured_minor,
            currency, effective_at)
    JOIN open_order AS running
        ON running.partition_index = said.partition_index AND running.order_no = said.order_no
        AND running.attempt_no = said.attempt_no AND NOT running.is_outcome_known
    RETURNING evidence_no, partition_index, order_no, attempt_no, source, result, reference
), waiting AS (
    INSERT INTO evidence_pending (partition_index, evidence_no)
    SELECT partition_index, evidence_no FROM wanted
), audited AS (
    INSERT INTO audit (actor, action, subject, detail)
    SELECT $10, 'payment.evidence', coalesce(o.order_uuid, op.operation_uuid)::text, jsonb_build_object(
        'evidence_no', wanted.evidence_no, 'attempt_no', wanted.attempt_no,
        'source', wanted.source, 'is_charged', wanted.result = 1,
        'reference', wanted.reference, 'text', $11::text)
    FROM wanted LEFT JOIN payment_order AS o
        ON o.partition_index = wanted.partition_index AND o.order_no = wanted.order_no
    LEFT JOIN operation AS op
        ON op.partition_index = wanted.partition_index AND op.order_no = wanted.order_no
)
SELECT evidence_no FROM wanted;

-- results --
SELECT evidence_no, result, detail FROM evidence_result WHERE evidence_no = ANY ($1::bigint[]);

-- count_unknown --
-- Open orders whose outcome is unknown, of the PSP that their present attempt is at.
SELECT count(*) AS unknown_count
FROM open_order AS running JOIN attempt AS tried
    ON tried.partition_index = running.partition_index AND tried.order_no = running.order_no
    AND tried.attempt_no = running.attempt_no
WHERE NOT running.is_outcome_known AND tried.psp = $1;

-- time --
SELECT statement_timestamp() AS now;

-- booked --
-- A page of a partition's ($2) orders below a number ($3), newest first; those that moved money
-- at the PSP ($1), and were booked until $4, with their charge, or with what was captured by then. Orders are numbered as they are
-- taken in, so a reader that goes back in time can stop, and no index on times is needed.
SELECT o.order_no, o.order_uuid, o.taken_in_at, ended.order_no IS NOT NULL AS is_charged,
    ended.attempt_no, ended.psp_reference,
    coalesce(stands.captured_minor, ended.amount_captured_minor) AS captured_minor,
    ended.currency
FROM payment_order AS o
LEFT JOIN payment_standing AS stands
    ON stands.partition_index = o.partition_index AND stands.order_no = o.order_no
LEFT JOIN order_outcome AS ended
    ON ended.partition_index = o.partition_index AND ended.order_no = o.order_no
    AND ended.psp = $1::text AND ended.recorded_at <= $4::timestamptz
    AND (ended.amount_captured_minor > 0
        OR (stands.captured_minor > 0 AND stands.updated_at <= $4::timestamptz))
WHERE o.partition_index = $2::smallint AND o.order_no < $3::bigint
ORDER BY o.order_no DESC
LIMIT $5::integer;
