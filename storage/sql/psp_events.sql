-- PSPs' events, for the command line.

-- odd --
-- Those that a person looks at, newest first: by small indexes, however many events there are. $1 is one
-- result, or NULL for all of these; 0 are those that wait.
SELECT told.*, taken_in.idempotency_key, merchant.merchant_id, found.result AS judged, found.detail, found.at
FROM (
    (SELECT partition_index, event_uuid, result, detail, recorded_at AS at
     FROM psp_event_result
     WHERE result IN (4, 5) AND ($1::smallint IS NULL OR result = $1)
     ORDER BY recorded_at DESC LIMIT $2)
    UNION ALL
    (SELECT partition_index, event_uuid, 0, '', due_at
     FROM psp_event_pending WHERE $1::smallint IS NULL OR $1 = 0
     ORDER BY due_at DESC LIMIT $2)
) AS found
JOIN (
    SELECT partition_index, event_uuid, psp, event_id, order_uuid, attempt_no, result AS told,
        reference, captured_minor, currency, accepted_at
    FROM psp_event
) AS told USING (partition_index, event_uuid)
LEFT JOIN payment_order AS taken_in USING (partition_index, order_uuid)
LEFT JOIN merchant USING (merchant_no)
ORDER BY found.at DESC
LIMIT $2;
