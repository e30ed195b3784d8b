-- Captures, voids, refunds and disputes: what is done to a payment after its answer froze.
-- Only adds; code that does not know of it goes on as before, as long as nobody authorizes anything.
-- migrate:up

ALTER TABLE payment_order ADD COLUMN captures_manually boolean NOT NULL DEFAULT false;

-- One operation as it was accepted, never changed. It has a number of its own among its partition's
-- orders, so that attempts, open rows, timers, transfers, events and outcomes are kept and found as an
-- order's are.
CREATE TABLE operation (
    partition_index smallint    NOT NULL,
    order_no        bigint      NOT NULL,
    operation_uuid  uuid        NOT NULL,
    kind            smallint    NOT NULL CHECK (kind IN (1, 2, 3, 4)),  -- capture, void, refund, expiry
    payment_no      bigint      NOT NULL,  -- the order_no of its payment
    idempotency_key uuid        NOT NULL,
    merchant_no     integer     NOT NULL,
    mode            smallint    NOT NULL,
    amount_minor    bigint      NOT NULL CHECK (amount_minor BETWEEN 0 AND 9007199254740991),
    currency        char(3)     NOT NULL,
    fingerprint     bytea       NOT NULL,
    api_version     text        NOT NULL,
    accepted_at     timestamptz NOT NULL,
    taken_in_at     timestamptz NOT NULL DEFAULT transaction_timestamp(),
    PRIMARY KEY (partition_index, order_no)
) PARTITION BY HASH (partition_index);
CREATE UNIQUE INDEX operation_identity ON operation (operation_uuid, partition_index) INCLUDE (order_no);
CREATE INDEX operation_payment ON operation (partition_index, payment_no, order_no);

-- How a payment stands after its answer froze: a row for each that was authorized, operated on or
-- disputed, and for no other.
CREATE TABLE payment_standing (
    partition_index smallint    NOT NULL,
    order_no        bigint      NOT NULL,
    status          smallint    NOT NULL,
    captured_minor  bigint      NOT NULL CHECK (captured_minor >= 0),
    refunded_minor  bigint      NOT NULL CHECK (refunded_minor BETWEEN 0 AND captured_minor),
    fee_taken_minor bigint      NOT NULL CHECK (fee_taken_minor BETWEEN 0 AND captured_minor),
    disputed_minor  bigint      NOT NULL CHECK (disputed_minor >= 0),
    event_sequence  integer     NOT NULL,
    operation_count integer     NOT NULL,
    updated_at      timestamptz NOT NULL DEFAULT transaction_timestamp(),
    PRIMARY KEY (partition_index, order_no)
) WITH (fillfactor = 70);

-- A buyer's bank takes a captured amount back, until it is decided whose it is. Numbered among its
-- partition's orders as operations are; it has no attempt, since nothing is asked of the PSP.
CREATE TABLE dispute (
    partition_index smallint    NOT NULL,
    order_no        bigint      NOT NULL,
    payment_no      bigint      NOT NULL,
    merchant_no     integer     NOT NULL,
    mode            smallint    NOT NULL,
    psp             text        NOT NULL,
    reference       text        NOT NULL,  -- the PSP's own id of it
    status          smallint    NOT NULL CHECK (status IN (1, 2, 3)),  -- opened, won, lost
    amount_minor    bigint      NOT NULL CHECK (amount_minor BETWEEN 1 AND 9007199254740991),
    currency        char(3)     NOT NULL,
    event_sequence  integer     NOT NULL,
    opened_at       timestamptz NOT NULL DEFAULT transaction_timestamp(),
    updated_at      timestamptz NOT NULL DEFAULT transaction_timestamp(),
    PRIMARY KEY (partition_index, order_no),
    UNIQUE (partition_index, payment_no, reference)
);
-- A merchant's disputes, newest first.
CREATE INDEX dispute_list ON dispute (merchant_no, mode, opened_at, partition_index, order_no);

ALTER TABLE psp_event
    ADD COLUMN dispute_id text,
    ADD COLUMN dispute_state smallint NOT NULL DEFAULT 0,
    ADD COLUMN disputed_minor bigint NOT NULL DEFAULT 0;

DO $$
BEGIN
    FOR remainder IN 0..7 LOOP
        EXECUTE format('CREATE TABLE %I PARTITION OF operation FOR VALUES WITH (MODULUS 8, REMAINDER %s)',
                       'operation_h' || remainder, remainder);
    END LOOP;
END
$$;

-- Rows of a flush (see 0002). The types that these replace stay for owners of the version before.
CREATE TYPE flush_payment AS (
    partition_index smallint, order_no bigint, order_uuid uuid, idempotency_key uuid,
    merchant_no integer, mode smallint, seller_no integer, amount_minor bigint, currency text,
    fee_minor bigint, fingerprint bytea, metadata_json text, api_version text,
    accepted_at timestamptz, captures_manually boolean
);
CREATE TYPE flush_posting AS (
    partition_index smallint, account_no bigint, version_before bigint, transfer_count bigint,
    debits_posted_minor numeric(38), credits_posted_minor numeric(38),
    debits_pending_minor numeric(38), credits_pending_minor numeric(38)
);
CREATE TYPE flush_operation AS (
    partition_index smallint, order_no bigint, operation_uuid uuid, kind smallint, payment_no bigint,
    idempotency_key uuid, merchant_no integer, mode smallint, amount_minor bigint, currency text,
    fingerprint bytea, api_version text, accepted_at timestamptz, attempt_no smallint,
    is_open boolean
);
CREATE TYPE flush_payment_standing AS (
    partition_index smallint, order_no bigint, status smallint, captured_minor bigint,
    refunded_minor bigint, fee_taken_minor bigint, disputed_minor bigint, event_sequence integer,
    operation_count integer, is_held boolean, expires_in_ms bigint
);
CREATE TYPE flush_dispute AS (
    partition_index smallint, order_no bigint, payment_no bigint, psp text, reference text,
    status smallint, amount_minor bigint, currency text, event_sequence integer, merchant_no integer,
    mode smallint
);
CREATE TYPE flush_psp_notice AS (
    partition_index smallint, event_uuid uuid, psp text, event_id text, order_uuid uuid,
    attempt_no smallint, result smallint, reference text, captured_minor bigint, currency text,
    failure_code text, decline_code text, message text, effective_at timestamptz,
    accepted_at timestamptz, dispute_id text, dispute_state smallint, disputed_minor bigint
);

-- Two rows a transfer that is posted; what is only authorized (3), or given back (5), is no entry.
CREATE OR REPLACE VIEW entries AS
    SELECT partition_index, order_no, step, 'debit' AS side, debit_account_no AS account_no,
           amount_minor, currency, recorded_at FROM transfer WHERE kind NOT IN (3, 5)
    UNION ALL
    SELECT partition_index, order_no, step, 'credit', credit_account_no,
           amount_minor, currency, recorded_at FROM transfer WHERE kind NOT IN (3, 5);

GRANT SELECT ON operation, payment_standing, dispute TO tally_reader, tally_gateway, tally_owner;
GRANT INSERT ON operation, payment_standing, dispute TO tally_owner;
GRANT UPDATE ON payment_standing, dispute TO tally_owner;
