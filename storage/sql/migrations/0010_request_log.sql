-- What merchants asked and were answered, for some days. Only adds: code that does not know of it goes on
-- as before.
-- migrate:up

-- A ring of 32 slots: gateways write into one of them, until it is old or large enough; then the next one is
-- emptied and takes its turn. So the log is bounded in age and in size, and nothing is ever deleted row by row.
CREATE TABLE request_log (
    slot            smallint    NOT NULL,
    request_no      uuid        NOT NULL,  -- the Request-Id: it rises with time
    merchant_no     integer     NOT NULL,
    mode            smallint    NOT NULL CHECK (mode IN (1, 2)),
    method          text        NOT NULL,
    route           text        NOT NULL,  -- the template, such as /v1/payments/{id}
    status          smallint    NOT NULL,
    code            text,                  -- of a problem
    idempotency_key uuid,
    duration_us     integer     NOT NULL CHECK (duration_us >= 0),
    received_at     timestamptz NOT NULL,
    bodies          bytea       NOT NULL   -- sealed; redacted before it came here
) PARTITION BY LIST (slot);

-- A merchant's requests, one of them, and those of one key. No row is unique: a batch whose COMMIT was not
-- answered is given up, never written again.
CREATE INDEX request_log_merchant ON request_log (merchant_no, mode, request_no);
CREATE INDEX request_log_key ON request_log (idempotency_key) WHERE idempotency_key IS NOT NULL;
-- All merchants' latest moments, for operators: a few bytes for a hundred pages, where a tree over all rows would
-- cost every one of them.
CREATE INDEX request_log_recent ON request_log USING brin (received_at);

DO $$
BEGIN
    FOR slot_no IN 0..31 LOOP
        EXECUTE format('CREATE TABLE %I PARTITION OF request_log FOR VALUES IN (%s)',
                       'request_log_s' || lpad(slot_no::text, 2, '0'), slot_no);
    END LOOP;
END
$$;

-- One row: which slot is written, and since when.
CREATE TABLE request_log_turn (
    is_only  boolean     PRIMARY KEY DEFAULT true CHECK (is_only),
    slot     smallint    NOT NULL CHECK (slot BETWEEN 0 AND 31),
    began_at timestamptz NOT NULL
);
INSERT INTO request_log_turn (slot, began_at) VALUES (0, transaction_timestamp());

-- The slot to write into, after its turn was passed on where that is due: 31 of them hold what shall be kept.
-- Gateways may insert, and neither delete nor truncate: this is all that ever takes anything away. An hour and
-- 64 MiB are kept whatever is asked for.
CREATE FUNCTION request_log_slot(keep_s bigint, bytes_max bigint) RETURNS smallint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    turn request_log_turn%ROWTYPE;
    slot_s double precision := greatest(keep_s, 3600) / 31.0;
    slot_bytes double precision := greatest(bytes_max, 64 * 1024 * 1024) / 31.0;
BEGIN
    FOR look IN 1..2 LOOP
        IF look = 1 THEN
            SELECT * INTO STRICT turn FROM request_log_turn;
        ELSE
            -- Somebody else may have passed it on meanwhile.
            SELECT * INTO STRICT turn FROM request_log_turn FOR UPDATE;
        END IF;
        IF extract(epoch FROM transaction_timestamp() - turn.began_at) < slot_s
            AND pg_total_relation_size(
                format('request_log_s%s', lpad(turn.slot::text, 2, '0'))::regclass) < slot_bytes
        THEN
            RETURN turn.slot;
        END IF;
    END LOOP;
    turn.slot := (turn.slot + 1) % 32;
    EXECUTE format('TRUNCATE %I', 'request_log_s' || lpad(turn.slot::text, 2, '0'));
    UPDATE request_log_turn SET slot = turn.slot, began_at = transaction_timestamp();
    RETURN turn.slot;
END
$$;

REVOKE ALL ON FUNCTION request_log_slot(bigint, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION request_log_slot(bigint, bigint) TO tally_gateway;
GRANT SELECT, INSERT ON request_log TO tally_gateway;
-- Redacted, yet nobody's but the merchant's.
GRANT SELECT (slot, request_no, merchant_no, mode, method, route, status, code, idempotency_key,
    duration_us, received_at) ON request_log TO tally_reader;
GRANT SELECT ON request_log_turn TO tally_reader;
