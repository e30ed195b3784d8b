-- Messages that were set aside: the orders they stand for, and what operators want done with them.
-- Only adds: code that does not know of it goes on as before.
-- migrate:up

-- How often it was tried to take the message in before it was set aside.
ALTER TABLE dead_letter ADD COLUMN attempt_count integer NOT NULL DEFAULT 1;
-- A message that a gateway sent again under the same order is the same letter, whatever its stream id.
CREATE INDEX dead_letter_raw ON dead_letter (partition_index, raw_sha256);

-- An order whose message is a dead letter: as much of it as the message's header tells. It counts as
-- processing until the letter is discarded (failed), or replayed: then it has its payment_order. Apart
-- from payment_order, whose columns must all be known; nearly always empty, so that asking it costs
-- the hot path one look into one index page.
CREATE TABLE set_aside_order (
    partition_index smallint    NOT NULL,
    order_uuid      uuid        NOT NULL,
    dead_letter_no  bigint      NOT NULL REFERENCES dead_letter,
    merchant_no     integer     NOT NULL,
    mode            smallint    NOT NULL,
    fingerprint     bytea,                 -- NULL when that part of the header can't be read either
    api_version     text        NOT NULL,  -- by whose rules its answers are rendered
    accepted_at     timestamptz NOT NULL,
    set_aside_at    timestamptz NOT NULL DEFAULT transaction_timestamp(),
    PRIMARY KEY (partition_index, order_uuid)
);
CREATE INDEX set_aside_order_letter ON set_aside_order (dead_letter_no);

-- What an operator wants done with a letter: written by gateways and the command line, done by the
-- partition's owner, who alone writes orders.
CREATE TABLE dead_letter_action (
    action_no       bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    dead_letter_no  bigint      NOT NULL REFERENCES dead_letter,
    partition_index smallint    NOT NULL,
    action          smallint    NOT NULL CHECK (action IN (1, 2)),  -- 1 replay, 2 discard
    actor           text        NOT NULL,
    reason          text        NOT NULL CHECK (length(reason) BETWEEN 1 AND 500),
    wanted_at       timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX dead_letter_action_letter ON dead_letter_action (dead_letter_no);

-- What became of it, in the transaction of its effect.
CREATE TABLE dead_letter_result (
    action_no       bigint      PRIMARY KEY REFERENCES dead_letter_action,
    dead_letter_no  bigint      NOT NULL,
    partition_index smallint    NOT NULL,
    batch_seq       bigint      NOT NULL,
    result          smallint    NOT NULL CHECK (result IN (1, 2, 3)),  -- replayed, discarded, refused
    detail          text        NOT NULL,
    recorded_at     timestamptz NOT NULL DEFAULT transaction_timestamp()
);
CREATE INDEX dead_letter_result_letter ON dead_letter_result (dead_letter_no);

-- A claim compares batch_seq with it: a host that died since without a flush made no progress.
ALTER TABLE partition ADD COLUMN batch_seq_claimed bigint NOT NULL DEFAULT 0;
-- Since when its owner takes nothing in, because most of what comes would be set aside. For people.
ALTER TABLE partition ADD COLUMN intake_paused_at timestamptz;

-- Orders that no owner may touch, because doing so ended its process.
CREATE TABLE parked_order (
    partition_index smallint    NOT NULL,
    order_no        bigint      NOT NULL,
    reason          text        NOT NULL,
    detail          text        NOT NULL,
    parked_at       timestamptz NOT NULL DEFAULT transaction_timestamp(),
    PRIMARY KEY (partition_index, order_no)
);

-- Rows of a flush (see 0002).
CREATE TYPE flush_letter AS (
    partition_index smallint, stream_id text, order_uuid uuid, merchant_no integer, mode smallint,
    reason text, detail text, attempt_count integer, raw_envelope bytea, is_order boolean,
    fingerprint bytea, api_version text, accepted_at timestamptz
);
CREATE TYPE flush_letter_result AS (
    action_no bigint, dead_letter_no bigint, partition_index smallint, batch_seq bigint,
    result smallint, detail text
);

GRANT SELECT ON set_aside_order, dead_letter_action, dead_letter_result, parked_order
    TO tally_reader, tally_gateway, tally_owner;
-- The reader verifies what letters stand for, but may not see what is in them.
GRANT SELECT (dead_letter_no, partition_index, stream_id, order_uuid, merchant_no, mode, reason,
    attempt_count, raw_sha256, created_at) ON dead_letter TO tally_reader;
GRANT INSERT ON dead_letter_action TO tally_gateway;
GRANT INSERT ON set_aside_order, dead_letter_result TO tally_owner;
GRANT INSERT, DELETE ON parked_order TO tally_owner;
