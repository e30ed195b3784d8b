-- Dead letters, for gateways and the command line.

-- letters --
-- One page, newest first, below a number ($1); $2 wanted states or NULL for all. The body of a letter
-- is not among them.
SELECT * FROM (
    SELECT letter.dead_letter_no, letter.partition_index, letter.stream_id, letter.order_uuid,
        merchant.merchant_id, letter.mode, letter.reason, letter.detail, letter.created_at,
        octet_length(letter.raw_envelope) AS envelope_bytes,
        letter.attempt_count + tried.refused_count AS attempt_count,
        aside.order_uuid IS NOT NULL AS is_order,
        CASE WHEN NOT tried.is_replayed THEN tried.refusal END AS refusal,
        CASE WHEN tried.is_replayed THEN 'replayed' WHEN tried.is_discarded THEN 'discarded'
            WHEN pending.action = 1 THEN 'replaying' WHEN pending.action = 2 THEN 'discarding'
            ELSE 'waiting' END AS state
    FROM dead_letter AS letter
    LEFT JOIN merchant USING (merchant_no)
    LEFT JOIN set_aside_order AS aside USING (dead_letter_no)
    LEFT JOIN LATERAL (
        SELECT coalesce(bool_or(result = 1), false) AS is_replayed,
            coalesce(bool_or(result = 2), false) AS is_discarded,
            count(*) FILTER (WHERE result = 3)::integer AS refused_count,
            (array_agg(ended.detail ORDER BY action_no DESC) FILTER (WHERE result = 3))[1] AS refusal
        FROM dead_letter_result AS ended WHERE ended.dead_letter_no = letter.dead_letter_no
    ) AS tried ON true
    LEFT JOIN LATERAL (
        SELECT action FROM dead_letter_action AS wanted
        WHERE wanted.dead_letter_no = letter.dead_letter_no AND NOT EXISTS (
            SELECT FROM dead_letter_result AS ended WHERE ended.action_no = wanted.action_no)
        ORDER BY action_no LIMIT 1
    ) AS pending ON true
    WHERE letter.dead_letter_no < $1
    ORDER BY letter.dead_letter_no DESC
) AS told
WHERE $2::text IS NULL OR told.state = $2
LIMIT $3::integer;

-- letter_of_order --
-- The letter that an order is behind, by its partition ($1) and identity ($2).
SELECT dead_letter_no FROM set_aside_order WHERE partition_index = $1 AND order_uuid = $2;

-- envelope --
SELECT raw_envelope FROM dead_letter WHERE dead_letter_no = $1;

-- want --
-- An action with its audit row, whole or not at all; nothing when the letter is closed, or another
-- action is under way.
WITH letter AS (
    SELECT dead_letter_no, partition_index FROM dead_letter WHERE dead_letter_no = $1
), wanted AS (
    INSERT INTO dead_letter_action (dead_letter_no, partition_index, action, actor, reason)
    SELECT dead_letter_no, partition_index, $2::smallint, $3, $4 FROM letter
    WHERE NOT EXISTS (
        SELECT FROM dead_letter_result AS ended
        WHERE ended.dead_letter_no = letter.dead_letter_no AND ended.result IN (1, 2))
    AND NOT EXISTS (
        SELECT FROM dead_letter_action AS before
        WHERE before.dead_letter_no = letter.dead_letter_no AND NOT EXISTS (
            SELECT FROM dead_letter_result AS ended WHERE ended.action_no = before.action_no))
    RETURNING action_no, dead_letter_no, partition_index, action
), waiting AS (
    INSERT INTO dead_letter_pending (partition_index, action_no)
    SELECT partition_index, action_no FROM wanted
), audited AS (
    INSERT INTO audit (actor, action, subject, detail)
    SELECT $3, CASE action WHEN 1 THEN 'dead_letter.replay' ELSE 'dead_letter.discard' END,
        dead_letter_no::text, jsonb_build_object('reason', $4::text, 'action_no', action_no)
    FROM wanted
)
SELECT action_no FROM wanted;

-- audit --
INSERT INTO audit (actor, action, subject, detail)
VALUES ($1, $2, $3, jsonb_build_object('reason', $4::text));

-- accept_letters --
-- For so many seconds from now any share of dead letters is accepted in a partition.
WITH stored AS (
    INSERT INTO intent (key, value) VALUES ('accept_dead_letters:' || $1::integer, $2::jsonb)
    ON CONFLICT (key) DO UPDATE SET value = excluded.value, updated_at = now()
    RETURNING key, value
)
INSERT INTO audit (actor, action, subject, detail)
SELECT $3, 'dead_letter.accept', key, jsonb_build_object('reason', $4::text, 'seconds', value)
FROM stored;
