-- What one flush writes, as composite types: the owner sends each kind of row as one array, so that a
-- flush is one statement however many kinds it has. Members stand in the order of payments/rows.py.
--
-- COPY into temporary staging tables did the same with two round trips a kind, and with every row
-- written twice: for 50 orders with their transfers 30 us of the server's CPU an order against 15 us,
-- for 10 of them 80 us against 27 us.
--
-- A member is added at the end, and both kinds of owner must be able to send: so by a new type beside
-- the old one, which goes once no owner sends it.
-- migrate:up

CREATE TYPE flush_head AS (
    partition_index smallint, epoch bigint, batch_seq_before bigint, order_no_last bigint,
    account_no_last bigint, chain_hash bytea, outcome_count integer, transfer_count integer
);
CREATE TYPE flush_order AS (
    partition_index smallint, order_no bigint, order_uuid uuid, idempotency_key uuid,
    merchant_no integer, mode smallint, seller_no integer, amount_minor bigint, currency text,
    fee_minor bigint, fingerprint bytea, metadata_json text, api_version text,
    accepted_at timestamptz
);
CREATE TYPE flush_personal AS (
    partition_index smallint, order_no bigint, part smallint, envelope bytea
);
CREATE TYPE flush_attempt AS (
    partition_index smallint, order_no bigint, attempt_no smallint, psp text, psp_account text,
    psp_key text, epoch bigint
);
CREATE TYPE flush_progress AS (
    partition_index smallint, order_no bigint, status smallint, is_outcome_known boolean,
    attempt_no smallint, try_count integer, psp_reference text, next_action_url text,
    action_expires_at timestamptz, next_retry_at timestamptz
);
CREATE TYPE flush_timer AS (
    partition_index smallint, order_no bigint, kind smallint, delay_ms bigint
);
CREATE TYPE flush_outcome AS (
    partition_index smallint, order_no bigint, batch_seq bigint, status smallint,
    amount_captured_minor bigint, fee_minor bigint, currency text, attempt_no smallint, psp text,
    psp_reference text, failure_code text, decline_code text, failure_message text,
    effective_at timestamptz, event_sequence integer
);
CREATE TYPE flush_transfer AS (
    partition_index smallint, order_no bigint, step smallint, batch_seq bigint, kind smallint,
    debit_account_no bigint, credit_account_no bigint, amount_minor bigint, currency text
);
CREATE TYPE flush_account AS (
    partition_index smallint, account_no bigint, merchant_no integer, mode smallint, kind smallint,
    holder text, currency text
);
CREATE TYPE flush_slice AS (
    partition_index smallint, account_no bigint, version_before bigint, transfer_count bigint,
    debits_posted_minor numeric(38), credits_posted_minor numeric(38)
);
CREATE TYPE flush_event AS (
    partition_index smallint, order_no bigint, sequence integer, batch_seq bigint, type smallint
);
CREATE TYPE flush_refused AS (
    partition_index smallint, order_uuid uuid, fingerprint bytea, accepted_at timestamptz
);
CREATE TYPE flush_dead_letter AS (
    partition_index smallint, stream_id text, order_uuid uuid, merchant_no integer, mode smallint,
    reason text, detail text, raw_envelope bytea
);
