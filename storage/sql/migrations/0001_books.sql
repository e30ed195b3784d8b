-- The books: orders, attempts, transfers, accounts, outcomes, events, and who may write them.
--
-- Rules that hold for every table here:
--   * Everything refers to (partition_index, order_no). The only index on random values is the one
--     from order_uuid to order_no: a random primary key on transfers costs about twenty times the WAL.
--   * What is money or history is insert-only, and the grants below say so. What changes
--     (partition, slice, open_order, timer, host_lease) is narrow, has a low fillfactor, and no index on a
--     changing column, so that updates stay heap-only.
--   * Large tables are hash-partitioned by partition_index. The order table is never split by time: a
--     unique key can't span it.
-- migrate:up

CREATE TABLE deployment (
    is_singleton     boolean     PRIMARY KEY DEFAULT true CHECK (is_singleton),
    deployment_id    uuid        NOT NULL,
    partition_count  smallint    NOT NULL CHECK (partition_count > 0),
    shard_name       text        NOT NULL,
    partition_first  smallint    NOT NULL CHECK (partition_first >= 0),
    partition_end    smallint    NOT NULL,  -- exclusive
    envelope_version smallint    NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now(),
    CHECK (partition_first < partition_end AND partition_end <= partition_count)
);

-- A row a server start: after a start or a promotion nothing is read from a server before this row
-- has been committed on it synchronously, which proves that every earlier commit in doubt is
-- decided.
CREATE TABLE server_start (
    postmaster_started_at timestamptz PRIMARY KEY,
    marked_by             text        NOT NULL,
    marked_at             timestamptz NOT NULL DEFAULT now()
);

-- --- who ------------------------------------------------------------------------------------------

CREATE TABLE merchant (
    merchant_no integer     PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    merchant_id text        NOT NULL UNIQUE,
    name        text        NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE api_key (
    key_id      text        PRIMARY KEY,  -- the public part of the key; the secret is kept as an HMAC alone
    secret_hmac bytea       NOT NULL CHECK (length(secret_hmac) = 32),
    role        smallint    NOT NULL CHECK (role IN (1, 2)),  -- 1 merchant, 2 operator
    merchant_no integer     REFERENCES merchant,
    mode        smallint    NOT NULL CHECK (mode IN (1, 2)),  -- 1 test, 2 live
    created_at  timestamptz NOT NULL DEFAULT now(),
    revoked_at  timestamptz,
    CHECK ((role = 1) = (merchant_no IS NOT NULL))
);

-- Whose wallet is credited. Each merchant has one of its own per mode, named by the merchant's id.
CREATE TABLE seller (
    seller_no        integer     PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    merchant_no      integer     NOT NULL REFERENCES merchant,
    mode             smallint    NOT NULL CHECK (mode IN (1, 2)),
    seller_id        text        NOT NULL,
    name             text        NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    fee_basis_points integer     NOT NULL CHECK (fee_basis_points BETWEEN 0 AND 10000),
    fee_fixed        jsonb       NOT NULL DEFAULT '{}',  -- minor units by currency
    fee_fixed_default bigint     NOT NULL DEFAULT 0 CHECK (fee_fixed_default >= 0),
    created_at       timestamptz NOT NULL DEFAULT now(),
    UNIQUE (merchant_no, mode, seller_id)
);

CREATE TABLE audit (
    audit_no  bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    at        timestamptz NOT NULL DEFAULT now(),
    actor     text        NOT NULL,
    action    text        NOT NULL,
    subject   text        NOT NULL,
    detail    jsonb       NOT NULL DEFAULT '{}'
);

-- What the operator wants; the supervisor and the hosts read it, so that the command line and the
-- actors share no code but storage. Keys: host_count, drain:<host name>, pause:<partition>.
CREATE TABLE intent (
    key        text        PRIMARY KEY,
    value      jsonb       NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- --- who owns a partition -------------------------------------------------------------------------

CREATE TABLE host_lease (
    incarnation uuid        PRIMARY KEY,
    host_name   text        NOT NULL,
    node        text        NOT NULL,
    pid         integer     NOT NULL,
    counter     bigint      NOT NULL DEFAULT 0,
    started_at  timestamptz NOT NULL DEFAULT now(),
    released_at timestamptz
) WITH (fillfactor = 30);

CREATE TABLE partition (
    partition_index  smallint      PRIMARY KEY,
    epoch            bigint        NOT NULL DEFAULT 0,
    batch_seq        bigint        NOT NULL DEFAULT 0,
    owner            uuid,
    -- The owner's connections that may hold locks: (pid, start) names a backend beyond doubt.
    backend_pids     integer[]     NOT NULL DEFAULT '{}',
    backend_starts   timestamptz[] NOT NULL DEFAULT '{}',
    order_no_last    bigint        NOT NULL DEFAULT 0,
    account_no_last  bigint        NOT NULL DEFAULT 0,
    chain_hash       bytea         NOT NULL,
    stall_count      integer       NOT NULL DEFAULT 0,
    claimed_at       timestamptz
) WITH (fillfactor = 20);

-- --- orders ---------------------------------------------------------------------------------------

CREATE TABLE payment_order (
    partition_index smallint    NOT NULL,
    order_no        bigint      NOT NULL,
    order_uuid      uuid        NOT NULL,
    idempotency_key uuid        NOT NULL,
    merchant_no     integer     NOT NULL,
    mode            smallint    NOT NULL,
    seller_no       integer     NOT NULL,
    amount_minor    bigint      NOT NULL CHECK (amount_minor BETWEEN 1 AND 9007199254740991),
    currency        char(3)     NOT NULL,
    fee_minor       bigint      NOT NULL CHECK (fee_minor BETWEEN 0 AND amount_minor),
    fingerprint     bytea       NOT NULL,
    metadata        jsonb,
    api_version     text        NOT NULL,
    accepted_at     timestamptz NOT NULL,
    taken_in_at     timestamptz NOT NULL DEFAULT transaction_timestamp(),
    PRIMARY KEY (partition_index, order_no)
) PARTITION BY HASH (partition_index);

CREATE UNIQUE INDEX payment_order_uuid ON payment_order (order_uuid, partition_index) INCLUDE (order_no);
-- Lists are newest first within a merchant and mode; accepted_at rises, so the index grows at few
-- places.
CREATE INDEX payment_order_list ON payment_order (merchant_no, mode, accepted_at, order_no);

-- Buyer, description, PSP tokens, request bytes: apart from the books, so that they can be erased
-- alone.
CREATE TABLE personal_data (
    partition_index smallint NOT NULL,
    order_no        bigint   NOT NULL,
    part            smallint NOT NULL,  -- 0 the order's detail, 100 + n the request of attempt n
    envelope        bytea    NOT NULL,  -- version, encryption flag, body
    PRIMARY KEY (partition_index, order_no, part)
) PARTITION BY HASH (partition_index);

CREATE TABLE attempt (
    partition_index smallint    NOT NULL,
    order_no        bigint      NOT NULL,
    attempt_no      smallint    NOT NULL,
    psp             text        NOT NULL,
    psp_account     text        NOT NULL,
    psp_key         text        NOT NULL,
    epoch           bigint      NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT transaction_timestamp(),
    PRIMARY KEY (partition_index, order_no, attempt_no)
) PARTITION BY HASH (partition_index);

-- Orders that have not ended: what a new owner rebuilds its work from. Rows come and go.
CREATE TABLE open_order (
    partition_index   smallint NOT NULL,
    order_no          bigint   NOT NULL,
    status            smallint NOT NULL,
    is_outcome_known  boolean  NOT NULL,
    attempt_no        smallint NOT NULL,
    try_count         integer  NOT NULL,
    psp_reference     text,
    next_action_url   text,
    action_expires_at timestamptz,
    next_retry_at     timestamptz,
    PRIMARY KEY (partition_index, order_no)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);

CREATE TABLE timer (
    partition_index smallint    NOT NULL,
    order_no        bigint      NOT NULL,
    kind            smallint    NOT NULL,
    due_at          timestamptz NOT NULL,
    PRIMARY KEY (partition_index, order_no)
) WITH (autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX timer_due ON timer (partition_index, due_at);

CREATE TABLE order_outcome (
    partition_index       smallint    NOT NULL,
    order_no              bigint      NOT NULL,
    batch_seq             bigint      NOT NULL,
    status                smallint    NOT NULL,
    amount_captured_minor bigint      NOT NULL CHECK (amount_captured_minor >= 0),
    fee_minor             bigint      NOT NULL CHECK (fee_minor >= 0),
    currency              char(3)     NOT NULL,
    attempt_no            smallint    NOT NULL,
    psp                   text,
    psp_reference         text,
    failure_code          text,
    decline_code          text,
    failure_message       text,
    effective_at          timestamptz,
    event_sequence        integer     NOT NULL,
    recorded_at           timestamptz NOT NULL DEFAULT transaction_timestamp(),
    PRIMARY KEY (partition_index, order_no)
) PARTITION BY HASH (partition_index);

CREATE TABLE event (
    partition_index smallint NOT NULL,
    order_no        bigint   NOT NULL,
    sequence        integer  NOT NULL,
    batch_seq       bigint   NOT NULL,
    type            smallint NOT NULL,
    -- The feed is served in this order, and only below the oldest running transaction.
    db_transaction  xid8     NOT NULL DEFAULT pg_current_xact_id(),
    created_at      timestamptz NOT NULL DEFAULT transaction_timestamp(),
    PRIMARY KEY (partition_index, order_no, sequence)
) PARTITION BY HASH (partition_index);

CREATE TABLE refused_request (
    partition_index smallint    NOT NULL,
    order_uuid      uuid        NOT NULL,
    fingerprint     bytea       NOT NULL,
    accepted_at     timestamptz NOT NULL,
    refused_at      timestamptz NOT NULL DEFAULT transaction_timestamp(),
    PRIMARY KEY (partition_index, order_uuid, fingerprint)
);

CREATE TABLE dead_letter (
    dead_letter_no  bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    partition_index smallint    NOT NULL,
    stream_id       text        NOT NULL,
    order_uuid      uuid,
    merchant_no     integer,
    mode            smallint,
    reason          text        NOT NULL,
    detail          text        NOT NULL,
    raw_envelope    bytea       NOT NULL,
    raw_sha256      bytea       NOT NULL GENERATED ALWAYS AS (sha256(raw_envelope)) STORED,
    created_at      timestamptz NOT NULL DEFAULT transaction_timestamp(),
    -- A re-read entry is the same letter: stream ids can repeat after a promotion, its bytes don't.
    UNIQUE (partition_index, stream_id, raw_sha256)
);

-- --- money ----------------------------------------------------------------------------------------

CREATE TABLE account (
    partition_index smallint NOT NULL,
    account_no      bigint   NOT NULL,
    merchant_no     integer  NOT NULL,
    mode            smallint NOT NULL,
    kind            smallint NOT NULL,
    holder          text     NOT NULL,
    currency        char(3)  NOT NULL,
    PRIMARY KEY (partition_index, account_no),
    UNIQUE (merchant_no, mode, kind, holder, currency, partition_index)
);

-- A partition's part of an account. Its version is the number of transfers applied to it.
CREATE TABLE slice (
    partition_index       smallint NOT NULL,
    account_no            bigint   NOT NULL,
    version               bigint   NOT NULL,
    -- Sums are not bounded as amounts are: a thousand of the largest payments pass a bigint, and an
    -- overflow would halt the partition for everybody after the PSP has charged.
    debits_posted_minor   numeric(38) NOT NULL CHECK (debits_posted_minor >= 0),
    credits_posted_minor  numeric(38) NOT NULL CHECK (credits_posted_minor >= 0),
    debits_pending_minor  numeric(38) NOT NULL DEFAULT 0 CHECK (debits_pending_minor >= 0),
    credits_pending_minor numeric(38) NOT NULL DEFAULT 0 CHECK (credits_pending_minor >= 0),
    PRIMARY KEY (partition_index, account_no)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);

CREATE TABLE transfer (
    partition_index   smallint    NOT NULL,
    order_no          bigint      NOT NULL,
    step              smallint    NOT NULL,
    batch_seq         bigint      NOT NULL,
    kind              smallint    NOT NULL,
    debit_account_no  bigint      NOT NULL,
    credit_account_no bigint      NOT NULL,
    amount_minor      bigint      NOT NULL CHECK (amount_minor > 0),
    currency          char(3)     NOT NULL,
    recorded_at       timestamptz NOT NULL DEFAULT transaction_timestamp(),
    PRIMARY KEY (partition_index, order_no, step),
    CHECK (debit_account_no <> credit_account_no)
) PARTITION BY HASH (partition_index);

-- One row a flush that wrote money or outcomes; arrays run side by side, one element a partition.
CREATE TABLE ledger_batch (
    ledger_batch_no  bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    recorded_at      timestamptz NOT NULL DEFAULT transaction_timestamp(),
    partition_indexes smallint[] NOT NULL,
    epochs           bigint[]    NOT NULL,
    batch_seqs       bigint[]    NOT NULL,
    outcome_counts   integer[]   NOT NULL,
    transfer_counts  integer[]   NOT NULL,
    chain_hashes     bytea[]     NOT NULL
);

-- Eight children: enough for vacuum and index builds to run side by side, few enough that a small
-- flush touches few pages.
DO $$
DECLARE
    parent text;
BEGIN
    FOREACH parent IN ARRAY ARRAY[
        'payment_order', 'personal_data', 'attempt', 'order_outcome', 'event', 'transfer']
    LOOP
        FOR remainder IN 0..7 LOOP
            EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES WITH (MODULUS 8, REMAINDER %s)',
                           parent || '_h' || remainder, parent, remainder);
        END LOOP;
    END LOOP;
END
$$;

-- What an accountant expects: two rows a transfer, one a side.
CREATE VIEW entries AS
    SELECT partition_index, order_no, step, 'debit' AS side, debit_account_no AS account_no,
           amount_minor, currency, recorded_at FROM transfer
    UNION ALL
    SELECT partition_index, order_no, step, 'credit', credit_account_no,
           amount_minor, currency, recorded_at FROM transfer;

-- --- roles ----------------------------------------------------------------------------------------
-- tally_gateway, tally_owner and tally_reader are made by the installation (they carry passwords).

GRANT SELECT ON ALL TABLES IN SCHEMA public TO tally_reader, tally_gateway, tally_owner;
REVOKE SELECT ON api_key FROM tally_reader, tally_owner;
REVOKE SELECT ON personal_data, dead_letter FROM tally_reader;

-- Rights are given on the parents alone. ALL TABLES named the children too, and a right on a child
-- would be a way around what was just taken back.
DO $$
DECLARE
    child regclass;
BEGIN
    FOR child IN
        SELECT oid::regclass FROM pg_class WHERE relispartition AND relkind = 'r'
    LOOP
        EXECUTE format('REVOKE ALL ON %s FROM tally_reader, tally_gateway, tally_owner', child);
    END LOOP;
END
$$;

GRANT INSERT, UPDATE ON merchant, seller, api_key, intent TO tally_gateway;
GRANT INSERT ON audit TO tally_gateway, tally_owner;

GRANT INSERT ON server_start, payment_order, personal_data, attempt, order_outcome, event, transfer,
    ledger_batch, account, refused_request, dead_letter TO tally_owner;
GRANT INSERT, UPDATE, DELETE ON open_order, timer, host_lease TO tally_owner;
GRANT INSERT, UPDATE ON slice, intent TO tally_owner;
GRANT UPDATE ON partition TO tally_owner;
