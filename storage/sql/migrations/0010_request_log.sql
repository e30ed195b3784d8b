-- What merchants asked and were answered, for some days. Only adds: code that does not know of it goes on
-- as before.
-- migrate:up

-- A ring of 32 slots: gateways write into one of them, until it is old or large enough; then the next one is
-- emptied and takes its turn. So the log is bounded in age and in size, and nothing is ever deleted row by row.
-- A row is a block: what one gateway noted of one merchant within a moment (storage/request_blocks.py).
CREATE TABLE request_log (
    slot          smallint NOT NULL,
    first_no      uuid     NOT NULL,  -- the lowest Request-Id in it, and the highest: they rise with time
    last_no       uuid     NOT NULL,
    merchant_no   integer  NOT NULL,
    mode          smallint NOT NULL CHECK (mode IN (1, 2)),
    request_count smallint NOT NULL CHECK (request_count > 0),
    key_prints    bytea    NOT NULL,  -- four bytes of each idempotency key: what is not there is not in it
    heads         bytea    NOT NULL,  -- compressed
    bodies        bytea    NOT NULL,  -- compressed and sealed; redacted before it came here
    CHECK (first_no <= last_no)
) PARTITION BY LIST (slot);
-- They are compressed already: the server need not try.
ALTER TABLE request_log ALTER COLUMN heads SET STORAGE EXTERNAL, ALTER COLUMN bodies SET STORAGE EXTERNAL;

-- A merchant's, and all merchants' for operators. No row is unique: a batch whose COMMIT was not answered is given
-- up, never written again.
CREATE INDEX request_log_merchant ON request_log (merchant_no, mode, last_no);
CREATE INDEX request_log_recent ON request_log (last_no);

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
GRANT SELECT (slot, first_no, last_no, merchant_no, mode, request_count, heads) ON request_log TO tally_reader;
GRANT SELECT ON request_log_turn TO tally_reader;
