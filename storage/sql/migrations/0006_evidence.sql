-- Evidence of what became of attempts whose outcome is unknown, and what their owners made of it.
-- Only adds: code that does not know of it goes on as before.
-- migrate:up

-- Written by the command line; decided by the partition's owner, who alone writes orders.
CREATE TABLE evidence (
    evidence_no     bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    partition_index smallint    NOT NULL,
    order_no        bigint      NOT NULL,
    attempt_no      smallint    NOT NULL,
    source          smallint    NOT NULL CHECK (source IN (1, 2)),  -- operator, settlement report
    result          smallint    NOT NULL CHECK (result IN (1, 2)),  -- charged, not charged
    reference       text,
    captured_minor  bigint      NOT NULL CHECK (captured_minor >= 0),
    currency        text,
    effective_at    timestamptz,                                    -- when the money moved, if told
    actor           text        NOT NULL,
    text            text        NOT NULL CHECK (length(text) BETWEEN 10 AND 500),
    wanted_at       timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX evidence_order ON evidence (partition_index, order_no);

-- Those without a result: nearly always none, so that an owner's look each second reads one page.
CREATE TABLE evidence_pending (
    partition_index smallint    NOT NULL,
    evidence_no     bigint      NOT NULL REFERENCES evidence,
    PRIMARY KEY (partition_index, evidence_no)
);

-- What became of it, in the transaction of its effect.
CREATE TABLE evidence_result (
    evidence_no     bigint      PRIMARY KEY REFERENCES evidence,
    partition_index smallint    NOT NULL,
    batch_seq       bigint      NOT NULL,
    result          smallint    NOT NULL CHECK (result IN (1, 2)),  -- accepted, refused
    detail          text        NOT NULL,
    recorded_at     timestamptz NOT NULL DEFAULT transaction_timestamp()
);

-- Rows of a flush (see 0002).
CREATE TYPE flush_evidence_result AS (
    evidence_no bigint, partition_index smallint, batch_seq bigint, result smallint, detail text
);

GRANT SELECT ON evidence, evidence_pending, evidence_result
    TO tally_reader, tally_gateway, tally_owner;
GRANT INSERT ON evidence, evidence_pending TO tally_gateway;
GRANT INSERT ON evidence_result TO tally_owner;
GRANT DELETE ON evidence_pending TO tally_owner;
