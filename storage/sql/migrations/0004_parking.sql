-- Orders that rest, and why: the breaker of their PSP is open. Only adds: code that does not know of
-- it goes on as before, and reads the type that it knows.
-- migrate:up

-- NULL: it does not rest. 1 = psp_down (payments/parking.py).
ALTER TABLE open_order ADD COLUMN parked_reason smallint;

-- flush_progress with that column. The old type stays for hosts of the version before.
CREATE TYPE flush_standing AS (
    partition_index smallint,
    order_no bigint,
    status smallint,
    is_outcome_known boolean,
    attempt_no smallint,
    try_count integer,
    psp_reference text,
    next_action_url text,
    action_expires_at timestamptz,
    next_retry_at timestamptz,
    parked_reason smallint
);
