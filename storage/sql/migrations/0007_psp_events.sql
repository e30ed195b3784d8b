-- What PSPs tell of charges by webhook, what became of it, and which operators' actions wait.
-- Only adds: code that does not know of it goes on as before.
-- migrate:up

-- One row an event, for ever: by it a repetition is known, however late. Its name is derived from the
-- PSP and the PSP's own id of the event.
CREATE TABLE psp_event (
    partition_index smallint    NOT NULL,
    event_uuid      uuid        NOT NULL,
    psp             text        NOT NULL,
    event_id        text        NOT NULL,
    order_uuid      uuid        NOT NULL,  -- as the attempt's key says; the order need not be here (yet)
    attempt_no      smallint    NOT NULL,
    result          smallint    NOT NULL,  -- as of an answer about the attempt's key
    reference       text,
    captured_minor  bigint      NOT NULL CHECK (captured_minor >= 0),
    currency        text,
    failure_code    text,
    decline_code    text,
    message         text        NOT NULL,
    effective_at    timestamptz,
    accepted_at     timestamptz NOT NULL,  -- when a gateway had verified it
    recorded_at     timestamptz NOT NULL DEFAULT transaction_timestamp(),
    PRIMARY KEY (partition_index, event_uuid)
);
CREATE INDEX psp_event_order ON psp_event (partition_index, order_uuid);

-- Those without a result: of orders whose call is still on its way, and of orders that are not here.
CREATE TABLE psp_event_pending (
    partition_index smallint    NOT NULL,
    event_uuid      uuid        NOT NULL,
    due_at          timestamptz NOT NULL DEFAULT transaction_timestamp(),
    look_count      integer     NOT NULL DEFAULT 0,
    PRIMARY KEY (partition_index, event_uuid),
    FOREIGN KEY (partition_index, event_uuid) REFERENCES psp_event
) WITH (fillfactor = 50);
CREATE INDEX psp_event_pending_due ON psp_event_pending (partition_index, due_at);

-- What became of it, in the transaction of its effect.
CREATE TABLE psp_event_result (
    partition_index smallint    NOT NULL,
    event_uuid      uuid        NOT NULL,
    batch_seq       bigint      NOT NULL,
    order_no        bigint,                -- NULL where no order was found
    -- applied (it ended the order), agrees, ignored, contradicts, unmatched
    result          smallint    NOT NULL CHECK (result IN (1, 2, 3, 4, 5)),
    detail          text        NOT NULL,
    recorded_at     timestamptz NOT NULL DEFAULT transaction_timestamp(),
    PRIMARY KEY (partition_index, event_uuid),
    FOREIGN KEY (partition_index, event_uuid) REFERENCES psp_event
);
-- Few, and what an operator looks for.
CREATE INDEX psp_event_result_odd ON psp_event_result (recorded_at) WHERE result IN (4, 5);
-- Of the events that ended an order: the verifier comes from the orders.
CREATE INDEX psp_event_result_applied ON psp_event_result (partition_index, order_no)
    WHERE result = 1;

-- Operators' actions on dead letters without a result: the actions themselves are kept for ever.
CREATE TABLE dead_letter_pending (
    partition_index smallint    NOT NULL,
    action_no       bigint      NOT NULL REFERENCES dead_letter_action,
    PRIMARY KEY (partition_index, action_no)
);
INSERT INTO dead_letter_pending (partition_index, action_no)
SELECT partition_index, action_no FROM dead_letter_action AS wanted
WHERE NOT EXISTS (SELECT FROM dead_letter_result AS ended WHERE ended.action_no = wanted.action_no);

-- Rows of a flush (see 0002).
CREATE TYPE flush_psp_event AS (
    partition_index smallint, event_uuid uuid, psp text, event_id text, order_uuid uuid,
    attempt_no smallint, result smallint, reference text, captured_minor bigint, currency text,
    failure_code text, decline_code text, message text, effective_at timestamptz,
    accepted_at timestamptz
);
CREATE TYPE flush_psp_event_result AS (
    partition_index smallint, event_uuid uuid, batch_seq bigint, order_no bigint, result smallint,
    detail text
);

GRANT SELECT ON psp_event, psp_event_pending, psp_event_result, dead_letter_pending
    TO tally_reader, tally_gateway, tally_owner;
GRANT INSERT ON psp_event, psp_event_pending, psp_event_result TO tally_owner;
GRANT UPDATE (due_at, look_count), DELETE ON psp_event_pending TO tally_owner;
GRANT INSERT ON dead_letter_pending TO tally_gateway;
GRANT DELETE ON dead_letter_pending TO tally_owner;
