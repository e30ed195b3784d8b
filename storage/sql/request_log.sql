-- The request log: written by gateways in batches, read by merchants and operators.

-- begin_unconfirmed --
-- Nobody is told that a request was logged, so no answer of the standby is waited for.
BEGIN; SET LOCAL synchronous_commit = off;

-- slot --
-- $1 seconds and $2 bytes that are kept.
SELECT request_log_slot($1, $2) AS slot;

-- around --
-- Blocks whose range may hold $3. No range is longer than what lies between $3 and $4.
SELECT heads, bodies, last_no
FROM request_log
WHERE merchant_no = $1 AND mode = $2 AND last_no >= $3 AND last_no <= $4 AND first_no <= $3
ORDER BY last_no
LIMIT $5;

-- older --
-- $3 what comes next, newest first; $4 the edge; $5 what a key leaves of itself in its block, or null.
SELECT heads, bodies, last_no
FROM request_log
WHERE merchant_no = $1 AND mode = $2 AND last_no < $3 AND first_no < $4
    AND ($5::bytea IS NULL OR position($5 IN key_prints) > 0)
ORDER BY last_no DESC
LIMIT $6;

-- newer --
SELECT heads, bodies, last_no
FROM request_log
WHERE merchant_no = $1 AND mode = $2 AND last_no > $3
ORDER BY last_no
LIMIT $4;

-- newest_of_all --
-- For operators: no bodies.
SELECT heads, mode, merchant_no, merchant_id
FROM (
    SELECT heads, mode, merchant_no, last_no FROM request_log
    WHERE last_no > $1
    ORDER BY last_no DESC LIMIT $2
) AS found
JOIN merchant USING (merchant_no)
ORDER BY last_no DESC;

-- newest_of_merchant --
-- The same of one merchant, in both modes.
SELECT heads, mode, merchant_no, merchant_id
FROM (
    SELECT heads, mode, merchant_no, last_no FROM request_log
    WHERE merchant_no = (SELECT merchant_no FROM merchant WHERE merchant_id = $3)
        AND mode IN (1, 2) AND last_no > $1
    ORDER BY last_no DESC LIMIT $2
) AS found
JOIN merchant USING (merchant_no)
ORDER BY last_no DESC;
