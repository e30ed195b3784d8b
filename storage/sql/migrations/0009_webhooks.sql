-- The feed of events, and webhooks: endpoints, secrets, how far each endpoint is, and what became of each
-- delivery. Only adds: code that does not know of it goes on as before.
--
-- Events of before have no merchant, and are in no feed: nobody could ask for one. Nor are those that a host
-- of the release before writes while it still runs, so hosts come before the first endpoint.
-- migrate:up

ALTER TABLE event ADD COLUMN merchant_no integer, ADD COLUMN mode smallint;

-- A merchant's feed in its order. Transaction ids rise, so that it grows at one place a merchant.
CREATE INDEX event_feed
    ON event (merchant_no, mode, db_transaction, partition_index, order_no, sequence) INCLUDE (type)
    WHERE merchant_no IS NOT NULL;

-- Rows of a flush (see 0002).
CREATE TYPE flush_told_event AS (
    partition_index smallint, order_no bigint, sequence integer, batch_seq bigint, type smallint,
    merchant_no integer, mode smallint
);

CREATE TABLE webhook_endpoint (
    endpoint_no   integer     PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    merchant_no   integer     NOT NULL REFERENCES merchant,
    mode          smallint    NOT NULL CHECK (mode IN (1, 2)),
    url           text        NOT NULL CHECK (length(url) <= 2048),
    types         text[]      NOT NULL CHECK (cardinality(types) > 0),
    -- enabled, paused (by us, after failures), disabled (by its merchant), gone (answered 410)
    status        smallint    NOT NULL DEFAULT 1 CHECK (status IN (1, 2, 3, 4)),
    status_reason text,
    status_at     timestamptz NOT NULL DEFAULT now(),
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    deleted_at    timestamptz
);
CREATE INDEX webhook_endpoint_merchant ON webhook_endpoint (merchant_no, mode, endpoint_no);

-- What signs: in the versioned envelope of personal data. Two are valid while one replaces the other.
CREATE TABLE webhook_secret (
    secret_no   integer     PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    endpoint_no integer     NOT NULL REFERENCES webhook_endpoint,
    envelope    bytea       NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz
);
CREATE INDEX webhook_secret_endpoint ON webhook_secret (endpoint_no);

-- How far an endpoint is in its merchant's feed: everything up to here was delivered or has a row in
-- webhook_delivery.
CREATE TABLE webhook_progress (
    endpoint_no     integer     PRIMARY KEY REFERENCES webhook_endpoint,
    db_transaction  xid8        NOT NULL,
    partition_index integer     NOT NULL,  -- -1: before all events of that transaction
    order_no        bigint      NOT NULL,
    sequence        integer     NOT NULL,
    failing_since   timestamptz            -- no try has succeeded since; NULL while they do
) WITH (fillfactor = 30);

-- The delivery log, the line of those that are tried again, and the dead letters, in the order of the feed.
CREATE TABLE webhook_delivery (
    endpoint_no      integer     NOT NULL REFERENCES webhook_endpoint,
    db_transaction   xid8        NOT NULL,
    partition_index  integer     NOT NULL,
    order_no         bigint      NOT NULL,
    sequence         integer     NOT NULL,
    type             smallint    NOT NULL,
    event_created_at timestamptz NOT NULL,
    state            smallint    NOT NULL CHECK (state IN (1, 2, 3)),  -- waiting, delivered, dead
    try_count        integer     NOT NULL,  -- in all
    round_try_count  smallint    NOT NULL,  -- since the delivery was last begun: its place in the schedule
    due_at           timestamptz,
    first_try_at     timestamptz NOT NULL,
    last_try_at      timestamptz NOT NULL,
    last_http_status smallint,
    last_error       text,
    last_duration_ms integer     NOT NULL,
    PRIMARY KEY (endpoint_no, db_transaction, partition_index, order_no, sequence),
    CHECK ((state = 1) = (due_at IS NOT NULL))
) WITH (fillfactor = 90);
CREATE INDEX webhook_delivery_due ON webhook_delivery (endpoint_no, due_at) WHERE state = 1;

-- The dispatcher at work: its sign of life, and how far behind it is. Whoever holds the advisory lock writes it.
CREATE TABLE webhook_dispatcher (
    is_singleton  boolean     PRIMARY KEY DEFAULT true CHECK (is_singleton),
    name          text        NOT NULL,
    metrics_address text,
    backend_pid   integer     NOT NULL,
    backend_start timestamptz NOT NULL,
    beat          bigint      NOT NULL DEFAULT 0,
    beat_at       timestamptz NOT NULL DEFAULT now(),
    behind_s      float8      NOT NULL DEFAULT 0,  -- the oldest event that an enabled endpoint has not seen
    held_up_s     float8      NOT NULL DEFAULT 0   -- how old the transaction is that holds up the feed
) WITH (fillfactor = 30);

GRANT SELECT ON webhook_progress, webhook_delivery, webhook_dispatcher
    TO tally_reader, tally_gateway, tally_owner;
-- A merchant may have put a secret of his own into the URL.
GRANT SELECT (endpoint_no, merchant_no, mode, types, status, status_reason, status_at, created_at,
    updated_at, deleted_at) ON webhook_endpoint TO tally_reader;
GRANT SELECT ON webhook_endpoint TO tally_gateway, tally_owner;
GRANT SELECT ON webhook_secret TO tally_owner;
GRANT INSERT, UPDATE ON webhook_endpoint TO tally_gateway;
GRANT SELECT (secret_no, endpoint_no, created_at, expires_at), INSERT, UPDATE (expires_at)
    ON webhook_secret TO tally_gateway;
GRANT INSERT, UPDATE (failing_since) ON webhook_progress TO tally_gateway;
GRANT UPDATE (state, round_try_count, due_at) ON webhook_delivery TO tally_gateway;
GRANT UPDATE (status, status_reason, status_at, updated_at) ON webhook_endpoint TO tally_owner;
GRANT UPDATE ON webhook_progress TO tally_owner;
GRANT INSERT, UPDATE, DELETE ON webhook_delivery, webhook_dispatcher TO tally_owner;
