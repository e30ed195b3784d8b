-- Checkouts: which payment orders belong to one buyer event. An order itself stays what it is: a row of
-- payment_order in the partition that its own id leads to.
-- Only adds: code that does not know of it goes on as before.
-- migrate:up

CREATE TABLE checkout (
    partition_index smallint    NOT NULL,
    checkout_uuid   uuid        NOT NULL,  -- follows from merchant, mode and the checkout's key
    idempotency_key uuid        NOT NULL,
    merchant_no     integer     NOT NULL,
    mode            smallint    NOT NULL,
    success_url     text,                  -- where the PSP's page sends the buyer back to; NULL without one
    cancel_url      text,
    metadata        jsonb,
    fingerprint     bytea       NOT NULL,
    api_version     text        NOT NULL,
    accepted_at     timestamptz NOT NULL,
    taken_in_at     timestamptz NOT NULL DEFAULT transaction_timestamp(),
    PRIMARY KEY (partition_index, checkout_uuid)
);
-- Lists are newest first within a merchant and mode.
CREATE INDEX checkout_list ON checkout (merchant_no, mode, accepted_at, checkout_uuid);

CREATE TABLE checkout_order (
    partition_index smallint    NOT NULL,
    checkout_uuid   uuid        NOT NULL,
    position        smallint    NOT NULL,
    order_uuid      uuid        NOT NULL,  -- the order may be in another partition, or not be (yet)
    idempotency_key uuid        NOT NULL,
    seller_no       integer     NOT NULL,
    amount_minor    bigint      NOT NULL CHECK (amount_minor BETWEEN 1 AND 9007199254740991),
    currency        char(3)     NOT NULL,
    fingerprint     bytea       NOT NULL,  -- of the order as this checkout asks for it
    PRIMARY KEY (partition_index, checkout_uuid, position),
    FOREIGN KEY (partition_index, checkout_uuid) REFERENCES checkout
);
-- From an order to its checkout.
CREATE INDEX checkout_order_uuid ON checkout_order (order_uuid);

-- Rows of a flush (see 0002).
CREATE TYPE flush_checkout AS (
    partition_index smallint, checkout_uuid uuid, idempotency_key uuid, merchant_no integer,
    mode smallint, success_url text, cancel_url text, metadata_json text, fingerprint bytea,
    api_version text, accepted_at timestamptz
);
CREATE TYPE flush_checkout_order AS (
    partition_index smallint, checkout_uuid uuid, position smallint, order_uuid uuid,
    idempotency_key uuid, seller_no integer, amount_minor bigint, currency text, fingerprint bytea
);

GRANT SELECT ON checkout, checkout_order TO tally_reader, tally_gateway, tally_owner;
GRANT INSERT ON checkout, checkout_order TO tally_owner;
