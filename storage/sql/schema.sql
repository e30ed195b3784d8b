-- The schema as all migrations together make it. For reading: it is written by a program and checked by
-- a test; what is run is in migrations/. The tables named <parent>_h0 to <parent>_h7, and request_log_s00 to
-- request_log_s31, are left out.

CREATE TYPE flush_account AS (
	partition_index smallint,
	account_no bigint,
	merchant_no integer,
	mode smallint,
	kind smallint,
	holder text,
	currency text
);

CREATE TYPE flush_attempt AS (
	partition_index smallint,
	order_no bigint,
	attempt_no smallint,
	psp text,
	psp_account text,
	psp_key text,
	epoch bigint
);

CREATE TYPE flush_head AS (
	partition_index smallint,
	epoch bigint,
	batch_seq_before bigint,
	order_no_last bigint,
	account_no_last bigint,
	chain_hash bytea,
	outcome_count integer,
	transfer_count integer
);

CREATE TYPE flush_outcome AS (
	partition_index smallint,
	order_no bigint,
	batch_seq bigint,
	status smallint,
	amount_captured_minor bigint,
	fee_minor bigint,
	currency text,
	attempt_no smallint,
	psp text,
	psp_reference text,
	failure_code text,
	decline_code text,
	failure_message text,
	effective_at timestamp with time zone,
	event_sequence integer
);

CREATE TYPE flush_payment AS (
	partition_index smallint,
	order_no bigint,
	order_uuid uuid,
	idempotency_key uuid,
	merchant_no integer,
	mode smallint,
	seller_no integer,
	amount_minor bigint,
	currency text,
	fee_minor bigint,
	fingerprint bytea,
	metadata_json text,
	api_version text,
	accepted_at timestamp with time zone,
	captures_manually boolean
);

CREATE TYPE flush_personal AS (
	partition_index smallint,
	order_no bigint,
	part smallint,
	envelope bytea
);

CREATE TYPE flush_posting AS (
	partition_index smallint,
	account_no bigint,
	version_before bigint,
	transfer_count bigint,
	debits_posted_minor numeric(38,0),
	credits_posted_minor numeric(38,0),
	debits_pending_minor numeric(38,0),
	credits_pending_minor numeric(38,0)
);

CREATE TYPE flush_refused AS (
	partition_index smallint,
	order_uuid uuid,
	fingerprint bytea,
	accepted_at timestamp with time zone
);

CREATE TYPE flush_standing AS (
	partition_index smallint,
	order_no bigint,
	status smallint,
	is_outcome_known boolean,
	attempt_no smallint,
	try_count integer,
	psp_reference text,
	next_action_url text,
	action_expires_at timestamp with time zone,
	next_retry_at timestamp with time zone,
	parked_reason smallint
);

CREATE TYPE flush_timer AS (
	partition_index smallint,
	order_no bigint,
	kind smallint,
	delay_ms bigint
);

CREATE TYPE flush_told_event AS (
	partition_index smallint,
	order_no bigint,
	sequence integer,
	batch_seq bigint,
	type smallint,
	merchant_no integer,
	mode smallint
);

CREATE TYPE flush_transfer AS (
	partition_index smallint,
	order_no bigint,
	step smallint,
	batch_seq bigint,
	kind smallint,
	debit_account_no bigint,
	credit_account_no bigint,
	amount_minor bigint,
	currency text
);

CREATE TYPE flush_books AS (
	heads flush_head[],
	orders flush_payment[],
	personal flush_personal[],
	attempts flush_attempt[],
	progress flush_standing[],
	timers flush_timer[],
	outcomes flush_outcome[],
	transfers flush_transfer[],
	accounts flush_account[],
	posted flush_posting[],
	new_slices flush_posting[],
	events flush_told_event[],
	refused flush_refused[]
);

CREATE TYPE flush_checkout AS (
	partition_index smallint,
	checkout_uuid uuid,
	idempotency_key uuid,
	merchant_no integer,
	mode smallint,
	success_url text,
	cancel_url text,
	metadata_json text,
	fingerprint bytea,
	api_version text,
	accepted_at timestamp with time zone
);

CREATE TYPE flush_checkout_order AS (
	partition_index smallint,
	checkout_uuid uuid,
	"position" smallint,
	order_uuid uuid,
	idempotency_key uuid,
	seller_no integer,
	amount_minor bigint,
	currency text,
	fingerprint bytea
);

CREATE TYPE flush_dead_letter AS (
	partition_index smallint,
	stream_id text,
	order_uuid uuid,
	merchant_no integer,
	mode smallint,
	reason text,
	detail text,
	raw_envelope bytea
);

CREATE TYPE flush_dispute AS (
	partition_index smallint,
	order_no bigint,
	payment_no bigint,
	psp text,
	reference text,
	status smallint,
	amount_minor bigint,
	currency text,
	event_sequence integer,
	merchant_no integer,
	mode smallint
);

CREATE TYPE flush_event AS (
	partition_index smallint,
	order_no bigint,
	sequence integer,
	batch_seq bigint,
	type smallint
);

CREATE TYPE flush_evidence_result AS (
	evidence_no bigint,
	partition_index smallint,
	batch_seq bigint,
	result smallint,
	detail text
);

CREATE TYPE flush_letter AS (
	partition_index smallint,
	stream_id text,
	order_uuid uuid,
	merchant_no integer,
	mode smallint,
	reason text,
	detail text,
	attempt_count integer,
	raw_envelope bytea,
	is_order boolean,
	fingerprint bytea,
	api_version text,
	accepted_at timestamp with time zone
);

CREATE TYPE flush_letter_result AS (
	action_no bigint,
	dead_letter_no bigint,
	partition_index smallint,
	batch_seq bigint,
	result smallint,
	detail text
);

CREATE TYPE flush_operation AS (
	partition_index smallint,
	order_no bigint,
	operation_uuid uuid,
	kind smallint,
	payment_no bigint,
	idempotency_key uuid,
	merchant_no integer,
	mode smallint,
	amount_minor bigint,
	currency text,
	fingerprint bytea,
	api_version text,
	accepted_at timestamp with time zone,
	attempt_no smallint,
	is_open boolean
);

CREATE TYPE flush_order AS (
	partition_index smallint,
	order_no bigint,
	order_uuid uuid,
	idempotency_key uuid,
	merchant_no integer,
	mode smallint,
	seller_no integer,
	amount_minor bigint,
	currency text,
	fee_minor bigint,
	fingerprint bytea,
	metadata_json text,
	api_version text,
	accepted_at timestamp with time zone
);

CREATE TYPE flush_payment_standing AS (
	partition_index smallint,
	order_no bigint,
	status smallint,
	captured_minor bigint,
	refunded_minor bigint,
	fee_taken_minor bigint,
	disputed_minor bigint,
	event_sequence integer,
	operation_count integer,
	is_held boolean,
	expires_in_ms bigint
);

CREATE TYPE flush_progress AS (
	partition_index smallint,
	order_no bigint,
	status smallint,
	is_outcome_known boolean,
	attempt_no smallint,
	try_count integer,
	psp_reference text,
	next_action_url text,
	action_expires_at timestamp with time zone,
	next_retry_at timestamp with time zone
);

CREATE TYPE flush_psp_event AS (
	partition_index smallint,
	event_uuid uuid,
	psp text,
	event_id text,
	order_uuid uuid,
	attempt_no smallint,
	result smallint,
	reference text,
	captured_minor bigint,
	currency text,
	failure_code text,
	decline_code text,
	message text,
	effective_at timestamp with time zone,
	accepted_at timestamp with time zone
);

CREATE TYPE flush_psp_event_result AS (
	partition_index smallint,
	event_uuid uuid,
	batch_seq bigint,
	order_no bigint,
	result smallint,
	detail text
);

CREATE TYPE flush_psp_notice AS (
	partition_index smallint,
	event_uuid uuid,
	psp text,
	event_id text,
	order_uuid uuid,
	attempt_no smallint,
	result smallint,
	reference text,
	captured_minor bigint,
	currency text,
	failure_code text,
	decline_code text,
	message text,
	effective_at timestamp with time zone,
	accepted_at timestamp with time zone,
	dispute_id text,
	dispute_state smallint,
	disputed_minor bigint
);

CREATE TYPE flush_slice AS (
	partition_index smallint,
	account_no bigint,
	version_before bigint,
	transfer_count bigint,
	debits_posted_minor numeric(38,0),
	credits_posted_minor numeric(38,0)
);

CREATE TYPE flush_split AS (
	partition_index smallint,
	order_no bigint,
	"position" smallint,
	seller_no integer,
	amount_minor bigint,
	fee_minor bigint
);

CREATE DOMAIN packed_flush AS flush_books;

CREATE FUNCTION request_log_slot(keep_s bigint, bytes_max bigint) RETURNS smallint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'public', 'pg_temp'
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

CREATE FUNCTION standby_lag() RETURNS TABLE(application_name text, state text, sync_state text, flush_lag_bytes bigint, replay_lag_bytes bigint, flush_lag_s double precision, replay_lag_s double precision)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    SELECT standby.application_name, standby.state, standby.sync_state,
        pg_wal_lsn_diff(pg_current_wal_lsn(), standby.flush_lsn)::bigint,
        pg_wal_lsn_diff(pg_current_wal_lsn(), standby.replay_lsn)::bigint,
        extract(epoch FROM standby.flush_lag)::double precision,
        extract(epoch FROM standby.replay_lag)::double precision
    FROM pg_stat_replication AS standby
    WHERE NOT pg_is_in_recovery()
    ORDER BY standby.application_name, standby.pid
$$;

CREATE TABLE account (
    partition_index smallint NOT NULL,
    account_no bigint NOT NULL,
    merchant_no integer NOT NULL,
    mode smallint NOT NULL,
    kind smallint NOT NULL,
    holder text NOT NULL,
    currency character(3) NOT NULL
);

CREATE TABLE api_key (
    key_id text NOT NULL,
    secret_hmac bytea NOT NULL,
    role smallint NOT NULL,
    merchant_no integer,
    mode smallint NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    revoked_at timestamp with time zone,
    CONSTRAINT api_key_check CHECK (((role = 1) = (merchant_no IS NOT NULL))),
    CONSTRAINT api_key_mode_check CHECK ((mode = ANY (ARRAY[1, 2]))),
    CONSTRAINT api_key_role_check CHECK ((role = ANY (ARRAY[1, 2]))),
    CONSTRAINT api_key_secret_hmac_check CHECK ((length(secret_hmac) = 32))
);

CREATE TABLE attempt (
    partition_index smallint NOT NULL,
    order_no bigint NOT NULL,
    attempt_no smallint NOT NULL,
    psp text NOT NULL,
    psp_account text NOT NULL,
    psp_key text NOT NULL,
    epoch bigint NOT NULL,
    created_at timestamp with time zone DEFAULT transaction_timestamp() NOT NULL
)
PARTITION BY HASH (partition_index);

CREATE TABLE audit (
    audit_no bigint NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    subject text NOT NULL,
    detail jsonb DEFAULT '{}'::jsonb NOT NULL
);

ALTER TABLE audit ALTER COLUMN audit_no ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME audit_audit_no_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE checkout (
    partition_index smallint NOT NULL,
    checkout_uuid uuid NOT NULL,
    idempotency_key uuid NOT NULL,
    merchant_no integer NOT NULL,
    mode smallint NOT NULL,
    success_url text,
    cancel_url text,
    metadata jsonb,
    fingerprint bytea NOT NULL,
    api_version text NOT NULL,
    accepted_at timestamp with time zone NOT NULL,
    taken_in_at timestamp with time zone DEFAULT transaction_timestamp() NOT NULL
);

CREATE TABLE checkout_order (
    partition_index smallint NOT NULL,
    checkout_uuid uuid NOT NULL,
    "position" smallint NOT NULL,
    order_uuid uuid NOT NULL,
    idempotency_key uuid NOT NULL,
    seller_no integer NOT NULL,
    amount_minor bigint NOT NULL,
    currency character(3) NOT NULL,
    fingerprint bytea NOT NULL,
    CONSTRAINT checkout_order_amount_minor_check CHECK (((amount_minor >= 1) AND (amount_minor <= '9007199254740991'::bigint)))
);

CREATE TABLE dead_letter (
    dead_letter_no bigint NOT NULL,
    partition_index smallint NOT NULL,
    stream_id text NOT NULL,
    order_uuid uuid,
    merchant_no integer,
    mode smallint,
    reason text NOT NULL,
    detail text NOT NULL,
    raw_envelope bytea NOT NULL,
    raw_sha256 bytea GENERATED ALWAYS AS (sha256(raw_envelope)) STORED NOT NULL,
    created_at timestamp with time zone DEFAULT transaction_timestamp() NOT NULL,
    attempt_count integer DEFAULT 1 NOT NULL
);

CREATE TABLE dead_letter_action (
    action_no bigint NOT NULL,
    dead_letter_no bigint NOT NULL,
    partition_index smallint NOT NULL,
    action smallint NOT NULL,
    actor text NOT NULL,
    reason text NOT NULL,
    wanted_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT dead_letter_action_action_check CHECK ((action = ANY (ARRAY[1, 2]))),
    CONSTRAINT dead_letter_action_reason_check CHECK (((length(reason) >= 1) AND (length(reason) <= 500)))
);

ALTER TABLE dead_letter_action ALTER COLUMN action_no ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME dead_letter_action_action_no_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER TABLE dead_letter ALTER COLUMN dead_letter_no ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME dead_letter_dead_letter_no_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE dead_letter_pending (
    partition_index smallint NOT NULL,
    action_no bigint NOT NULL
);

CREATE TABLE dead_letter_result (
    action_no bigint NOT NULL,
    dead_letter_no bigint NOT NULL,
    partition_index smallint NOT NULL,
    batch_seq bigint NOT NULL,
    result smallint NOT NULL,
    detail text NOT NULL,
    recorded_at timestamp with time zone DEFAULT transaction_timestamp() NOT NULL,
    CONSTRAINT dead_letter_result_result_check CHECK ((result = ANY (ARRAY[1, 2, 3])))
);

CREATE TABLE deployment (
    is_singleton boolean DEFAULT true NOT NULL,
    deployment_id uuid NOT NULL,
    partition_count smallint NOT NULL,
    shard_name text NOT NULL,
    partition_first smallint NOT NULL,
    partition_end smallint NOT NULL,
    envelope_version smallint NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT deployment_check CHECK (((partition_first < partition_end) AND (partition_end <= partition_count))),
    CONSTRAINT deployment_is_singleton_check CHECK (is_singleton),
    CONSTRAINT deployment_partition_count_check CHECK ((partition_count > 0)),
    CONSTRAINT deployment_partition_first_check CHECK ((partition_first >= 0))
);

CREATE TABLE dispute (
    partition_index smallint NOT NULL,
    order_no bigint NOT NULL,
    payment_no bigint NOT NULL,
    merchant_no integer NOT NULL,
    mode smallint NOT NULL,
    psp text NOT NULL,
    reference text NOT NULL,
    status smallint NOT NULL,
    amount_minor bigint NOT NULL,
    currency character(3) NOT NULL,
    event_sequence integer NOT NULL,
    opened_at timestamp with time zone DEFAULT transaction_timestamp() NOT NULL,
    updated_at timestamp with time zone DEFAULT transaction_timestamp() NOT NULL,
    CONSTRAINT dispute_amount_minor_check CHECK (((amount_minor >= 1) AND (amount_minor <= '9007199254740991'::bigint))),
    CONSTRAINT dispute_status_check CHECK ((status = ANY (ARRAY[1, 2, 3])))
);

CREATE TABLE transfer (
    partition_index smallint NOT NULL,
    order_no bigint NOT NULL,
    step smallint NOT NULL,
    batch_seq bigint NOT NULL,
    kind smallint NOT NULL,
    debit_account_no bigint NOT NULL,
    credit_account_no bigint NOT NULL,
    amount_minor bigint NOT NULL,
    currency character(3) NOT NULL,
    recorded_at timestamp with time zone DEFAULT transaction_timestamp() NOT NULL,
    CONSTRAINT transfer_amount_minor_check CHECK ((amount_minor > 0)),
    CONSTRAINT transfer_check CHECK ((debit_account_no <> credit_account_no))
)
PARTITION BY HASH (partition_index);

CREATE VIEW entries AS
 SELECT transfer.partition_index,
    transfer.order_no,
    transfer.step,
    'debit'::text AS side,
    transfer.debit_account_no AS account_no,
    transfer.amount_minor,
    transfer.currency,
    transfer.recorded_at
   FROM transfer
  WHERE (transfer.kind <> ALL (ARRAY[3, 5]))
UNION ALL
 SELECT transfer.partition_index,
    transfer.order_no,
    transfer.step,
    'credit'::text AS side,
    transfer.credit_account_no AS account_no,
    transfer.amount_minor,
    transfer.currency,
    transfer.recorded_at
   FROM transfer
  WHERE (transfer.kind <> ALL (ARRAY[3, 5]));

CREATE TABLE event (
    partition_index smallint NOT NULL,
    order_no bigint NOT NULL,
    sequence integer NOT NULL,
    batch_seq bigint NOT NULL,
    type smallint NOT NULL,
    db_transaction xid8 DEFAULT pg_current_xact_id() NOT NULL,
    created_at timestamp with time zone DEFAULT transaction_timestamp() NOT NULL,
    merchant_no integer,
    mode smallint
)
PARTITION BY HASH (partition_index);

CREATE TABLE evidence (
    evidence_no bigint NOT NULL,
    partition_index smallint NOT NULL,
    order_no bigint NOT NULL,
    attempt_no smallint NOT NULL,
    source smallint NOT NULL,
    result smallint NOT NULL,
    reference text,
    captured_minor bigint NOT NULL,
    currency text,
    effective_at timestamp with time zone,
    actor text NOT NULL,
    text text NOT NULL,
    wanted_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT evidence_captured_minor_check CHECK ((captured_minor >= 0)),
    CONSTRAINT evidence_result_check CHECK ((result = ANY (ARRAY[1, 2]))),
    CONSTRAINT evidence_source_check CHECK ((source = ANY (ARRAY[1, 2]))),
    CONSTRAINT evidence_text_check CHECK (((length(text) >= 10) AND (length(text) <= 500)))
);

ALTER TABLE evidence ALTER COLUMN evidence_no ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME evidence_evidence_no_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE evidence_pending (
    partition_index smallint NOT NULL,
    evidence_no bigint NOT NULL
);

CREATE TABLE evidence_result (
    evidence_no bigint NOT NULL,
    partition_index smallint NOT NULL,
    batch_seq bigint NOT NULL,
    result smallint NOT NULL,
    detail text NOT NULL,
    recorded_at timestamp with time zone DEFAULT transaction_timestamp() NOT NULL,
    CONSTRAINT evidence_result_result_check CHECK ((result = ANY (ARRAY[1, 2])))
);

CREATE TABLE host_lease (
    incarnation uuid NOT NULL,
    host_name text NOT NULL,
    node text NOT NULL,
    pid integer NOT NULL,
    counter bigint DEFAULT 0 NOT NULL,
    started_at timestamp with time zone DEFAULT now() NOT NULL,
    released_at timestamp with time zone,
    metrics_address text
)
WITH (fillfactor='30');

CREATE TABLE intent (
    key text NOT NULL,
    value jsonb NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE ledger_batch (
    ledger_batch_no bigint NOT NULL,
    recorded_at timestamp with time zone DEFAULT transaction_timestamp() NOT NULL,
    partition_indexes smallint[] NOT NULL,
    epochs bigint[] NOT NULL,
    batch_seqs bigint[] NOT NULL,
    outcome_counts integer[] NOT NULL,
    transfer_counts integer[] NOT NULL,
    chain_hashes bytea[] NOT NULL
);

ALTER TABLE ledger_batch ALTER COLUMN ledger_batch_no ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME ledger_batch_ledger_batch_no_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE merchant (
    merchant_no integer NOT NULL,
    merchant_id text NOT NULL,
    name text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT merchant_name_check CHECK (((length(name) >= 1) AND (length(name) <= 200)))
);

ALTER TABLE merchant ALTER COLUMN merchant_no ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME merchant_merchant_no_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE open_order (
    partition_index smallint NOT NULL,
    order_no bigint NOT NULL,
    status smallint NOT NULL,
    is_outcome_known boolean NOT NULL,
    attempt_no smallint NOT NULL,
    try_count integer NOT NULL,
    psp_reference text,
    next_action_url text,
    action_expires_at timestamp with time zone,
    next_retry_at timestamp with time zone,
    parked_reason smallint
)
WITH (fillfactor='70', autovacuum_vacuum_scale_factor='0.02');

CREATE TABLE operation (
    partition_index smallint NOT NULL,
    order_no bigint NOT NULL,
    operation_uuid uuid NOT NULL,
    kind smallint NOT NULL,
    payment_no bigint NOT NULL,
    idempotency_key uuid NOT NULL,
    merchant_no integer NOT NULL,
    mode smallint NOT NULL,
    amount_minor bigint NOT NULL,
    currency character(3) NOT NULL,
    fingerprint bytea NOT NULL,
    api_version text NOT NULL,
    accepted_at timestamp with time zone NOT NULL,
    taken_in_at timestamp with time zone DEFAULT transaction_timestamp() NOT NULL,
    CONSTRAINT operation_amount_minor_check CHECK (((amount_minor >= 0) AND (amount_minor <= '9007199254740991'::bigint))),
    CONSTRAINT operation_kind_check CHECK ((kind = ANY (ARRAY[1, 2, 3, 4])))
)
PARTITION BY HASH (partition_index);

CREATE TABLE order_outcome (
    partition_index smallint NOT NULL,
    order_no bigint NOT NULL,
    batch_seq bigint NOT NULL,
    status smallint NOT NULL,
    amount_captured_minor bigint NOT NULL,
    fee_minor bigint NOT NULL,
    currency character(3) NOT NULL,
    attempt_no smallint NOT NULL,
    psp text,
    psp_reference text,
    failure_code text,
    decline_code text,
    failure_message text,
    effective_at timestamp with time zone,
    event_sequence integer NOT NULL,
    recorded_at timestamp with time zone DEFAULT transaction_timestamp() NOT NULL,
    CONSTRAINT order_outcome_amount_captured_minor_check CHECK ((amount_captured_minor >= 0)),
    CONSTRAINT order_outcome_fee_minor_check CHECK ((fee_minor >= 0))
)
PARTITION BY HASH (partition_index);

CREATE TABLE parked_order (
    partition_index smallint NOT NULL,
    order_no bigint NOT NULL,
    reason text NOT NULL,
    detail text NOT NULL,
    parked_at timestamp with time zone DEFAULT transaction_timestamp() NOT NULL
);

CREATE TABLE partition (
    partition_index smallint NOT NULL,
    epoch bigint DEFAULT 0 NOT NULL,
    batch_seq bigint DEFAULT 0 NOT NULL,
    owner uuid,
    backend_pids integer[] DEFAULT '{}'::integer[] NOT NULL,
    backend_starts timestamp with time zone[] DEFAULT '{}'::timestamp with time zone[] NOT NULL,
    order_no_last bigint DEFAULT 0 NOT NULL,
    account_no_last bigint DEFAULT 0 NOT NULL,
    chain_hash bytea NOT NULL,
    stall_count integer DEFAULT 0 NOT NULL,
    claimed_at timestamp with time zone,
    batch_seq_claimed bigint DEFAULT 0 NOT NULL,
    intake_paused_at timestamp with time zone
)
WITH (fillfactor='20');

CREATE TABLE payment_order (
    partition_index smallint NOT NULL,
    order_no bigint NOT NULL,
    order_uuid uuid NOT NULL,
    idempotency_key uuid NOT NULL,
    merchant_no integer NOT NULL,
    mode smallint NOT NULL,
    seller_no integer NOT NULL,
    amount_minor bigint NOT NULL,
    currency character(3) NOT NULL,
    fee_minor bigint NOT NULL,
    fingerprint bytea NOT NULL,
    metadata jsonb,
    api_version text NOT NULL,
    accepted_at timestamp with time zone NOT NULL,
    taken_in_at timestamp with time zone DEFAULT transaction_timestamp() NOT NULL,
    captures_manually boolean DEFAULT false NOT NULL,
    CONSTRAINT payment_order_amount_minor_check CHECK (((amount_minor >= 1) AND (amount_minor <= '9007199254740991'::bigint))),
    CONSTRAINT payment_order_check CHECK (((fee_minor >= 0) AND (fee_minor <= amount_minor)))
)
PARTITION BY HASH (partition_index);

CREATE TABLE payment_split (
    partition_index smallint NOT NULL,
    order_no bigint NOT NULL,
    "position" smallint NOT NULL,
    seller_no integer NOT NULL,
    amount_minor bigint NOT NULL,
    fee_minor bigint NOT NULL,
    CONSTRAINT payment_split_amount_minor_check CHECK (((amount_minor >= 1) AND (amount_minor <= '9007199254740991'::bigint))),
    CONSTRAINT payment_split_check CHECK (((fee_minor >= 0) AND (fee_minor <= amount_minor))),
    CONSTRAINT payment_split_position_check CHECK ((("position" >= 0) AND ("position" <= 19)))
);

CREATE TABLE payment_standing (
    partition_index smallint NOT NULL,
    order_no bigint NOT NULL,
    status smallint NOT NULL,
    captured_minor bigint NOT NULL,
    refunded_minor bigint NOT NULL,
    fee_taken_minor bigint NOT NULL,
    disputed_minor bigint NOT NULL,
    event_sequence integer NOT NULL,
    operation_count integer NOT NULL,
    updated_at timestamp with time zone DEFAULT transaction_timestamp() NOT NULL,
    CONSTRAINT payment_standing_captured_minor_check CHECK ((captured_minor >= 0)),
    CONSTRAINT payment_standing_check CHECK (((refunded_minor >= 0) AND (refunded_minor <= captured_minor))),
    CONSTRAINT payment_standing_check1 CHECK (((fee_taken_minor >= 0) AND (fee_taken_minor <= captured_minor))),
    CONSTRAINT payment_standing_disputed_minor_check CHECK ((disputed_minor >= 0))
)
WITH (fillfactor='70');

CREATE TABLE personal_data (
    partition_index smallint NOT NULL,
    order_no bigint NOT NULL,
    part smallint NOT NULL,
    envelope bytea NOT NULL
)
PARTITION BY HASH (partition_index);

CREATE TABLE psp_event (
    partition_index smallint NOT NULL,
    event_uuid uuid NOT NULL,
    psp text NOT NULL,
    event_id text NOT NULL,
    order_uuid uuid NOT NULL,
    attempt_no smallint NOT NULL,
    result smallint NOT NULL,
    reference text,
    captured_minor bigint NOT NULL,
    currency text,
    failure_code text,
    decline_code text,
    message text NOT NULL,
    effective_at timestamp with time zone,
    accepted_at timestamp with time zone NOT NULL,
    recorded_at timestamp with time zone DEFAULT transaction_timestamp() NOT NULL,
    dispute_id text,
    dispute_state smallint DEFAULT 0 NOT NULL,
    disputed_minor bigint DEFAULT 0 NOT NULL,
    CONSTRAINT psp_event_captured_minor_check CHECK ((captured_minor >= 0))
);

CREATE TABLE psp_event_pending (
    partition_index smallint NOT NULL,
    event_uuid uuid NOT NULL,
    due_at timestamp with time zone DEFAULT transaction_timestamp() NOT NULL,
    look_count integer DEFAULT 0 NOT NULL
)
WITH (fillfactor='50');

CREATE TABLE psp_event_result (
    partition_index smallint NOT NULL,
    event_uuid uuid NOT NULL,
    batch_seq bigint NOT NULL,
    order_no bigint,
    result smallint NOT NULL,
    detail text NOT NULL,
    recorded_at timestamp with time zone DEFAULT transaction_timestamp() NOT NULL,
    CONSTRAINT psp_event_result_result_check CHECK ((result = ANY (ARRAY[1, 2, 3, 4, 5])))
);

CREATE TABLE refused_request (
    partition_index smallint NOT NULL,
    order_uuid uuid NOT NULL,
    fingerprint bytea NOT NULL,
    accepted_at timestamp with time zone NOT NULL,
    refused_at timestamp with time zone DEFAULT transaction_timestamp() NOT NULL
);

CREATE TABLE request_log (
    slot smallint NOT NULL,
    first_no uuid NOT NULL,
    last_no uuid NOT NULL,
    merchant_no integer NOT NULL,
    mode smallint NOT NULL,
    request_count smallint NOT NULL,
    key_prints bytea NOT NULL,
    heads bytea NOT NULL,
    bodies bytea NOT NULL,
    CONSTRAINT request_log_check CHECK ((first_no <= last_no)),
    CONSTRAINT request_log_mode_check CHECK ((mode = ANY (ARRAY[1, 2]))),
    CONSTRAINT request_log_request_count_check CHECK ((request_count > 0))
)
PARTITION BY LIST (slot);
ALTER TABLE ONLY request_log ALTER COLUMN heads SET STORAGE EXTERNAL;
ALTER TABLE ONLY request_log ALTER COLUMN bodies SET STORAGE EXTERNAL;

CREATE TABLE request_log_turn (
    is_only boolean DEFAULT true NOT NULL,
    slot smallint NOT NULL,
    began_at timestamp with time zone NOT NULL,
    CONSTRAINT request_log_turn_is_only_check CHECK (is_only),
    CONSTRAINT request_log_turn_slot_check CHECK (((slot >= 0) AND (slot <= 31)))
);

CREATE TABLE schema_migration (
    name text NOT NULL,
    checksum bytea NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT schema_migration_checksum_check CHECK ((length(checksum) = 32))
);

CREATE TABLE seller (
    seller_no integer NOT NULL,
    merchant_no integer NOT NULL,
    mode smallint NOT NULL,
    seller_id text NOT NULL,
    name text NOT NULL,
    fee_basis_points integer NOT NULL,
    fee_fixed jsonb DEFAULT '{}'::jsonb NOT NULL,
    fee_fixed_default bigint DEFAULT 0 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT seller_fee_basis_points_check CHECK (((fee_basis_points >= 0) AND (fee_basis_points <= 10000))),
    CONSTRAINT seller_fee_fixed_default_check CHECK ((fee_fixed_default >= 0)),
    CONSTRAINT seller_mode_check CHECK ((mode = ANY (ARRAY[1, 2]))),
    CONSTRAINT seller_name_check CHECK (((length(name) >= 1) AND (length(name) <= 200)))
);

ALTER TABLE seller ALTER COLUMN seller_no ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME seller_seller_no_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE server_start (
    postmaster_started_at timestamp with time zone NOT NULL,
    marked_by text NOT NULL,
    marked_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE set_aside_order (
    partition_index smallint NOT NULL,
    order_uuid uuid NOT NULL,
    dead_letter_no bigint NOT NULL,
    merchant_no integer NOT NULL,
    mode smallint NOT NULL,
    fingerprint bytea,
    api_version text NOT NULL,
    accepted_at timestamp with time zone NOT NULL,
    set_aside_at timestamp with time zone DEFAULT transaction_timestamp() NOT NULL
);

CREATE TABLE slice (
    partition_index smallint NOT NULL,
    account_no bigint NOT NULL,
    version bigint NOT NULL,
    debits_posted_minor numeric(38,0) NOT NULL,
    credits_posted_minor numeric(38,0) NOT NULL,
    debits_pending_minor numeric(38,0) DEFAULT 0 NOT NULL,
    credits_pending_minor numeric(38,0) DEFAULT 0 NOT NULL,
    CONSTRAINT slice_credits_pending_minor_check CHECK ((credits_pending_minor >= (0)::numeric)),
    CONSTRAINT slice_credits_posted_minor_check CHECK ((credits_posted_minor >= (0)::numeric)),
    CONSTRAINT slice_debits_pending_minor_check CHECK ((debits_pending_minor >= (0)::numeric)),
    CONSTRAINT slice_debits_posted_minor_check CHECK ((debits_posted_minor >= (0)::numeric))
)
WITH (fillfactor='50', autovacuum_vacuum_scale_factor='0.02');

CREATE TABLE timer (
    partition_index smallint NOT NULL,
    order_no bigint NOT NULL,
    kind smallint NOT NULL,
    due_at timestamp with time zone NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0.02');

CREATE TABLE webhook_delivery (
    endpoint_no integer NOT NULL,
    db_transaction xid8 NOT NULL,
    partition_index integer NOT NULL,
    order_no bigint NOT NULL,
    sequence integer NOT NULL,
    type smallint NOT NULL,
    event_created_at timestamp with time zone NOT NULL,
    state smallint NOT NULL,
    try_count integer NOT NULL,
    round_try_count smallint NOT NULL,
    due_at timestamp with time zone,
    first_try_at timestamp with time zone NOT NULL,
    last_try_at timestamp with time zone NOT NULL,
    last_http_status smallint,
    last_error text,
    last_duration_ms integer NOT NULL,
    CONSTRAINT webhook_delivery_check CHECK (((state = 1) = (due_at IS NOT NULL))),
    CONSTRAINT webhook_delivery_state_check CHECK ((state = ANY (ARRAY[1, 2, 3])))
)
WITH (fillfactor='90');

CREATE TABLE webhook_dispatcher (
    is_singleton boolean DEFAULT true NOT NULL,
    name text NOT NULL,
    metrics_address text,
    backend_pid integer NOT NULL,
    backend_start timestamp with time zone NOT NULL,
    beat bigint DEFAULT 0 NOT NULL,
    beat_at timestamp with time zone DEFAULT now() NOT NULL,
    behind_s double precision DEFAULT 0 NOT NULL,
    held_up_s double precision DEFAULT 0 NOT NULL,
    CONSTRAINT webhook_dispatcher_is_singleton_check CHECK (is_singleton)
)
WITH (fillfactor='30');

CREATE TABLE webhook_endpoint (
    endpoint_no integer NOT NULL,
    merchant_no integer NOT NULL,
    mode smallint NOT NULL,
    url text NOT NULL,
    types text[] NOT NULL,
    status smallint DEFAULT 1 NOT NULL,
    status_reason text,
    status_at timestamp with time zone DEFAULT now() NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    deleted_at timestamp with time zone,
    CONSTRAINT webhook_endpoint_mode_check CHECK ((mode = ANY (ARRAY[1, 2]))),
    CONSTRAINT webhook_endpoint_status_check CHECK ((status = ANY (ARRAY[1, 2, 3, 4]))),
    CONSTRAINT webhook_endpoint_types_check CHECK ((cardinality(types) > 0)),
    CONSTRAINT webhook_endpoint_url_check CHECK ((length(url) <= 2048))
);

ALTER TABLE webhook_endpoint ALTER COLUMN endpoint_no ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME webhook_endpoint_endpoint_no_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE webhook_progress (
    endpoint_no integer NOT NULL,
    db_transaction xid8 NOT NULL,
    partition_index integer NOT NULL,
    order_no bigint NOT NULL,
    sequence integer NOT NULL,
    failing_since timestamp with time zone
)
WITH (fillfactor='30');

CREATE TABLE webhook_secret (
    secret_no integer NOT NULL,
    endpoint_no integer NOT NULL,
    envelope bytea NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone
);

ALTER TABLE webhook_secret ALTER COLUMN secret_no ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME webhook_secret_secret_no_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER TABLE ONLY account
    ADD CONSTRAINT account_merchant_no_mode_kind_holder_currency_partition_ind_key UNIQUE (merchant_no, mode, kind, holder, currency, partition_index);

ALTER TABLE ONLY account
    ADD CONSTRAINT account_pkey PRIMARY KEY (partition_index, account_no);

ALTER TABLE ONLY api_key
    ADD CONSTRAINT api_key_pkey PRIMARY KEY (key_id);

ALTER TABLE ONLY attempt
    ADD CONSTRAINT attempt_pkey PRIMARY KEY (partition_index, order_no, attempt_no);

ALTER TABLE ONLY audit
    ADD CONSTRAINT audit_pkey PRIMARY KEY (audit_no);

ALTER TABLE ONLY checkout_order
    ADD CONSTRAINT checkout_order_pkey PRIMARY KEY (partition_index, checkout_uuid, "position");

ALTER TABLE ONLY checkout
    ADD CONSTRAINT checkout_pkey PRIMARY KEY (partition_index, checkout_uuid);

ALTER TABLE ONLY dead_letter_action
    ADD CONSTRAINT dead_letter_action_pkey PRIMARY KEY (action_no);

ALTER TABLE ONLY dead_letter
    ADD CONSTRAINT dead_letter_partition_index_stream_id_raw_sha256_key UNIQUE (partition_index, stream_id, raw_sha256);

ALTER TABLE ONLY dead_letter_pending
    ADD CONSTRAINT dead_letter_pending_pkey PRIMARY KEY (partition_index, action_no);

ALTER TABLE ONLY dead_letter
    ADD CONSTRAINT dead_letter_pkey PRIMARY KEY (dead_letter_no);

ALTER TABLE ONLY dead_letter_result
    ADD CONSTRAINT dead_letter_result_pkey PRIMARY KEY (action_no);

ALTER TABLE ONLY deployment
    ADD CONSTRAINT deployment_pkey PRIMARY KEY (is_singleton);

ALTER TABLE ONLY dispute
    ADD CONSTRAINT dispute_partition_index_payment_no_reference_key UNIQUE (partition_index, payment_no, reference);

ALTER TABLE ONLY dispute
    ADD CONSTRAINT dispute_pkey PRIMARY KEY (partition_index, order_no);

ALTER TABLE ONLY event
    ADD CONSTRAINT event_pkey PRIMARY KEY (partition_index, order_no, sequence);

ALTER TABLE ONLY evidence_pending
    ADD CONSTRAINT evidence_pending_pkey PRIMARY KEY (partition_index, evidence_no);

ALTER TABLE ONLY evidence
    ADD CONSTRAINT evidence_pkey PRIMARY KEY (evidence_no);

ALTER TABLE ONLY evidence_result
    ADD CONSTRAINT evidence_result_pkey PRIMARY KEY (evidence_no);

ALTER TABLE ONLY host_lease
    ADD CONSTRAINT host_lease_pkey PRIMARY KEY (incarnation);

ALTER TABLE ONLY intent
    ADD CONSTRAINT intent_pkey PRIMARY KEY (key);

ALTER TABLE ONLY ledger_batch
    ADD CONSTRAINT ledger_batch_pkey PRIMARY KEY (ledger_batch_no);

ALTER TABLE ONLY merchant
    ADD CONSTRAINT merchant_merchant_id_key UNIQUE (merchant_id);

ALTER TABLE ONLY merchant
    ADD CONSTRAINT merchant_pkey PRIMARY KEY (merchant_no);

ALTER TABLE ONLY open_order
    ADD CONSTRAINT open_order_pkey PRIMARY KEY (partition_index, order_no);

ALTER TABLE ONLY operation
    ADD CONSTRAINT operation_pkey PRIMARY KEY (partition_index, order_no);

ALTER TABLE ONLY order_outcome
    ADD CONSTRAINT order_outcome_pkey PRIMARY KEY (partition_index, order_no);

ALTER TABLE ONLY parked_order
    ADD CONSTRAINT parked_order_pkey PRIMARY KEY (partition_index, order_no);

ALTER TABLE ONLY partition
    ADD CONSTRAINT partition_pkey PRIMARY KEY (partition_index);

ALTER TABLE ONLY payment_order
    ADD CONSTRAINT payment_order_pkey PRIMARY KEY (partition_index, order_no);

ALTER TABLE ONLY payment_split
    ADD CONSTRAINT payment_split_partition_index_order_no_seller_no_key UNIQUE (partition_index, order_no, seller_no);

ALTER TABLE ONLY payment_split
    ADD CONSTRAINT payment_split_pkey PRIMARY KEY (partition_index, order_no, "position");

ALTER TABLE ONLY payment_standing
    ADD CONSTRAINT payment_standing_pkey PRIMARY KEY (partition_index, order_no);

ALTER TABLE ONLY personal_data
    ADD CONSTRAINT personal_data_pkey PRIMARY KEY (partition_index, order_no, part);

ALTER TABLE ONLY psp_event_pending
    ADD CONSTRAINT psp_event_pending_pkey PRIMARY KEY (partition_index, event_uuid);

ALTER TABLE ONLY psp_event
    ADD CONSTRAINT psp_event_pkey PRIMARY KEY (partition_index, event_uuid);

ALTER TABLE ONLY psp_event_result
    ADD CONSTRAINT psp_event_result_pkey PRIMARY KEY (partition_index, event_uuid);

ALTER TABLE ONLY refused_request
    ADD CONSTRAINT refused_request_pkey PRIMARY KEY (partition_index, order_uuid, fingerprint);

ALTER TABLE ONLY request_log_turn
    ADD CONSTRAINT request_log_turn_pkey PRIMARY KEY (is_only);

ALTER TABLE ONLY schema_migration
    ADD CONSTRAINT schema_migration_pkey PRIMARY KEY (name);

ALTER TABLE ONLY seller
    ADD CONSTRAINT seller_merchant_no_mode_seller_id_key UNIQUE (merchant_no, mode, seller_id);

ALTER TABLE ONLY seller
    ADD CONSTRAINT seller_pkey PRIMARY KEY (seller_no);

ALTER TABLE ONLY server_start
    ADD CONSTRAINT server_start_pkey PRIMARY KEY (postmaster_started_at);

ALTER TABLE ONLY set_aside_order
    ADD CONSTRAINT set_aside_order_pkey PRIMARY KEY (partition_index, order_uuid);

ALTER TABLE ONLY slice
    ADD CONSTRAINT slice_pkey PRIMARY KEY (partition_index, account_no);

ALTER TABLE ONLY timer
    ADD CONSTRAINT timer_pkey PRIMARY KEY (partition_index, order_no);

ALTER TABLE ONLY transfer
    ADD CONSTRAINT transfer_pkey PRIMARY KEY (partition_index, order_no, step);

ALTER TABLE ONLY webhook_delivery
    ADD CONSTRAINT webhook_delivery_pkey PRIMARY KEY (endpoint_no, db_transaction, partition_index, order_no, sequence);

ALTER TABLE ONLY webhook_dispatcher
    ADD CONSTRAINT webhook_dispatcher_pkey PRIMARY KEY (is_singleton);

ALTER TABLE ONLY webhook_endpoint
    ADD CONSTRAINT webhook_endpoint_pkey PRIMARY KEY (endpoint_no);

ALTER TABLE ONLY webhook_progress
    ADD CONSTRAINT webhook_progress_pkey PRIMARY KEY (endpoint_no);

ALTER TABLE ONLY webhook_secret
    ADD CONSTRAINT webhook_secret_pkey PRIMARY KEY (secret_no);

CREATE INDEX checkout_list ON checkout USING btree (merchant_no, mode, accepted_at, checkout_uuid);

CREATE INDEX checkout_order_uuid ON checkout_order USING btree (order_uuid);

CREATE INDEX dead_letter_action_letter ON dead_letter_action USING btree (dead_letter_no);

CREATE INDEX dead_letter_raw ON dead_letter USING btree (partition_index, raw_sha256);

CREATE INDEX dead_letter_result_letter ON dead_letter_result USING btree (dead_letter_no);

CREATE INDEX dispute_list ON dispute USING btree (merchant_no, mode, opened_at, partition_index, order_no);

CREATE INDEX event_feed ON ONLY event USING btree (merchant_no, mode, db_transaction, partition_index, order_no, sequence) INCLUDE (type) WHERE (merchant_no IS NOT NULL);

CREATE INDEX evidence_order ON evidence USING btree (partition_index, order_no);

CREATE UNIQUE INDEX operation_identity ON ONLY operation USING btree (operation_uuid, partition_index) INCLUDE (order_no);

CREATE INDEX operation_payment ON ONLY operation USING btree (partition_index, payment_no, order_no);

CREATE INDEX order_outcome_payment_intent ON ONLY order_outcome USING btree (psp_reference) WHERE ("left"(psp_reference, 3) = 'pi_'::text);

CREATE INDEX payment_order_list ON ONLY payment_order USING btree (merchant_no, mode, accepted_at, order_no);

CREATE UNIQUE INDEX payment_order_uuid ON ONLY payment_order USING btree (order_uuid, partition_index) INCLUDE (order_no);

CREATE INDEX psp_event_order ON psp_event USING btree (partition_index, order_uuid);

CREATE INDEX psp_event_pending_due ON psp_event_pending USING btree (partition_index, due_at);

CREATE INDEX psp_event_result_applied ON psp_event_result USING btree (partition_index, order_no) WHERE (result = 1);

CREATE INDEX psp_event_result_odd ON psp_event_result USING btree (recorded_at) WHERE (result = ANY (ARRAY[4, 5]));

CREATE INDEX request_log_merchant ON ONLY request_log USING btree (merchant_no, mode, last_no);

CREATE INDEX request_log_recent ON ONLY request_log USING btree (last_no);

CREATE INDEX set_aside_order_letter ON set_aside_order USING btree (dead_letter_no);

CREATE INDEX timer_due ON timer USING btree (partition_index, due_at);

CREATE INDEX webhook_delivery_due ON webhook_delivery USING btree (endpoint_no, due_at) WHERE (state = 1);

CREATE INDEX webhook_endpoint_merchant ON webhook_endpoint USING btree (merchant_no, mode, endpoint_no);

CREATE INDEX webhook_secret_endpoint ON webhook_secret USING btree (endpoint_no);

ALTER TABLE ONLY api_key
    ADD CONSTRAINT api_key_merchant_no_fkey FOREIGN KEY (merchant_no) REFERENCES merchant(merchant_no);

ALTER TABLE ONLY checkout_order
    ADD CONSTRAINT checkout_order_partition_index_checkout_uuid_fkey FOREIGN KEY (partition_index, checkout_uuid) REFERENCES checkout(partition_index, checkout_uuid);

ALTER TABLE ONLY dead_letter_action
    ADD CONSTRAINT dead_letter_action_dead_letter_no_fkey FOREIGN KEY (dead_letter_no) REFERENCES dead_letter(dead_letter_no);

ALTER TABLE ONLY dead_letter_pending
    ADD CONSTRAINT dead_letter_pending_action_no_fkey FOREIGN KEY (action_no) REFERENCES dead_letter_action(action_no);

ALTER TABLE ONLY dead_letter_result
    ADD CONSTRAINT dead_letter_result_action_no_fkey FOREIGN KEY (action_no) REFERENCES dead_letter_action(action_no);

ALTER TABLE ONLY evidence_pending
    ADD CONSTRAINT evidence_pending_evidence_no_fkey FOREIGN KEY (evidence_no) REFERENCES evidence(evidence_no);

ALTER TABLE ONLY evidence_result
    ADD CONSTRAINT evidence_result_evidence_no_fkey FOREIGN KEY (evidence_no) REFERENCES evidence(evidence_no);

ALTER TABLE ONLY psp_event_pending
    ADD CONSTRAINT psp_event_pending_partition_index_event_uuid_fkey FOREIGN KEY (partition_index, event_uuid) REFERENCES psp_event(partition_index, event_uuid);

ALTER TABLE ONLY psp_event_result
    ADD CONSTRAINT psp_event_result_partition_index_event_uuid_fkey FOREIGN KEY (partition_index, event_uuid) REFERENCES psp_event(partition_index, event_uuid);

ALTER TABLE ONLY seller
    ADD CONSTRAINT seller_merchant_no_fkey FOREIGN KEY (merchant_no) REFERENCES merchant(merchant_no);

ALTER TABLE ONLY set_aside_order
    ADD CONSTRAINT set_aside_order_dead_letter_no_fkey FOREIGN KEY (dead_letter_no) REFERENCES dead_letter(dead_letter_no);

ALTER TABLE ONLY webhook_delivery
    ADD CONSTRAINT webhook_delivery_endpoint_no_fkey FOREIGN KEY (endpoint_no) REFERENCES webhook_endpoint(endpoint_no);

ALTER TABLE ONLY webhook_endpoint
    ADD CONSTRAINT webhook_endpoint_merchant_no_fkey FOREIGN KEY (merchant_no) REFERENCES merchant(merchant_no);

ALTER TABLE ONLY webhook_progress
    ADD CONSTRAINT webhook_progress_endpoint_no_fkey FOREIGN KEY (endpoint_no) REFERENCES webhook_endpoint(endpoint_no);

ALTER TABLE ONLY webhook_secret
    ADD CONSTRAINT webhook_secret_endpoint_no_fkey FOREIGN KEY (endpoint_no) REFERENCES webhook_endpoint(endpoint_no);

REVOKE ALL ON FUNCTION request_log_slot(keep_s bigint, bytes_max bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION request_log_slot(keep_s bigint, bytes_max bigint) TO tally_gateway;

REVOKE ALL ON FUNCTION standby_lag() FROM PUBLIC;
GRANT ALL ON FUNCTION standby_lag() TO tally_reader;
GRANT ALL ON FUNCTION standby_lag() TO tally_gateway;
GRANT ALL ON FUNCTION standby_lag() TO tally_owner;

GRANT SELECT ON TABLE account TO tally_reader;
GRANT SELECT ON TABLE account TO tally_gateway;
GRANT SELECT,INSERT ON TABLE account TO tally_owner;

GRANT SELECT,INSERT,UPDATE ON TABLE api_key TO tally_gateway;

GRANT SELECT ON TABLE attempt TO tally_reader;
GRANT SELECT ON TABLE attempt TO tally_gateway;
GRANT SELECT,INSERT ON TABLE attempt TO tally_owner;

GRANT SELECT ON TABLE audit TO tally_reader;
GRANT SELECT,INSERT ON TABLE audit TO tally_gateway;
GRANT SELECT,INSERT ON TABLE audit TO tally_owner;

GRANT SELECT ON TABLE checkout TO tally_reader;
GRANT SELECT ON TABLE checkout TO tally_gateway;
GRANT SELECT,INSERT ON TABLE checkout TO tally_owner;

GRANT SELECT ON TABLE checkout_order TO tally_reader;
GRANT SELECT ON TABLE checkout_order TO tally_gateway;
GRANT SELECT,INSERT ON TABLE checkout_order TO tally_owner;

GRANT SELECT ON TABLE dead_letter TO tally_gateway;
GRANT SELECT,INSERT ON TABLE dead_letter TO tally_owner;

GRANT SELECT(dead_letter_no) ON TABLE dead_letter TO tally_reader;

GRANT SELECT(partition_index) ON TABLE dead_letter TO tally_reader;

GRANT SELECT(stream_id) ON TABLE dead_letter TO tally_reader;

GRANT SELECT(order_uuid) ON TABLE dead_letter TO tally_reader;

GRANT SELECT(merchant_no) ON TABLE dead_letter TO tally_reader;

GRANT SELECT(mode) ON TABLE dead_letter TO tally_reader;

GRANT SELECT(reason) ON TABLE dead_letter TO tally_reader;

GRANT SELECT(raw_sha256) ON TABLE dead_letter TO tally_reader;

GRANT SELECT(created_at) ON TABLE dead_letter TO tally_reader;

GRANT SELECT(attempt_count) ON TABLE dead_letter TO tally_reader;

GRANT SELECT ON TABLE dead_letter_action TO tally_reader;
GRANT SELECT,INSERT ON TABLE dead_letter_action TO tally_gateway;
GRANT SELECT ON TABLE dead_letter_action TO tally_owner;

GRANT SELECT ON TABLE dead_letter_pending TO tally_reader;
GRANT SELECT,INSERT ON TABLE dead_letter_pending TO tally_gateway;
GRANT SELECT,DELETE ON TABLE dead_letter_pending TO tally_owner;

GRANT SELECT ON TABLE dead_letter_result TO tally_reader;
GRANT SELECT ON TABLE dead_letter_result TO tally_gateway;
GRANT SELECT,INSERT ON TABLE dead_letter_result TO tally_owner;

GRANT SELECT ON TABLE deployment TO tally_reader;
GRANT SELECT ON TABLE deployment TO tally_gateway;
GRANT SELECT ON TABLE deployment TO tally_owner;

GRANT SELECT ON TABLE dispute TO tally_reader;
GRANT SELECT ON TABLE dispute TO tally_gateway;
GRANT SELECT,INSERT,UPDATE ON TABLE dispute TO tally_owner;

GRANT SELECT ON TABLE transfer TO tally_reader;
GRANT SELECT ON TABLE transfer TO tally_gateway;
GRANT SELECT,INSERT ON TABLE transfer TO tally_owner;

GRANT SELECT ON TABLE entries TO tally_reader;
GRANT SELECT ON TABLE entries TO tally_gateway;
GRANT SELECT ON TABLE entries TO tally_owner;

GRANT SELECT ON TABLE event TO tally_reader;
GRANT SELECT ON TABLE event TO tally_gateway;
GRANT SELECT,INSERT ON TABLE event TO tally_owner;

GRANT SELECT ON TABLE evidence TO tally_reader;
GRANT SELECT,INSERT ON TABLE evidence TO tally_gateway;
GRANT SELECT ON TABLE evidence TO tally_owner;

GRANT SELECT ON TABLE evidence_pending TO tally_reader;
GRANT SELECT,INSERT ON TABLE evidence_pending TO tally_gateway;
GRANT SELECT,DELETE ON TABLE evidence_pending TO tally_owner;

GRANT SELECT ON TABLE evidence_result TO tally_reader;
GRANT SELECT ON TABLE evidence_result TO tally_gateway;
GRANT SELECT,INSERT ON TABLE evidence_result TO tally_owner;

GRANT SELECT ON TABLE host_lease TO tally_reader;
GRANT SELECT ON TABLE host_lease TO tally_gateway;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE host_lease TO tally_owner;

GRANT SELECT ON TABLE intent TO tally_reader;
GRANT SELECT,INSERT,UPDATE ON TABLE intent TO tally_gateway;
GRANT SELECT,INSERT,UPDATE ON TABLE intent TO tally_owner;

GRANT SELECT ON TABLE ledger_batch TO tally_reader;
GRANT SELECT ON TABLE ledger_batch TO tally_gateway;
GRANT SELECT,INSERT ON TABLE ledger_batch TO tally_owner;

GRANT SELECT ON TABLE merchant TO tally_reader;
GRANT SELECT,INSERT,UPDATE ON TABLE merchant TO tally_gateway;
GRANT SELECT ON TABLE merchant TO tally_owner;

GRANT SELECT ON TABLE open_order TO tally_reader;
GRANT SELECT ON TABLE open_order TO tally_gateway;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE open_order TO tally_owner;

GRANT SELECT ON TABLE operation TO tally_reader;
GRANT SELECT ON TABLE operation TO tally_gateway;
GRANT SELECT,INSERT ON TABLE operation TO tally_owner;

GRANT SELECT ON TABLE order_outcome TO tally_reader;
GRANT SELECT ON TABLE order_outcome TO tally_gateway;
GRANT SELECT,INSERT ON TABLE order_outcome TO tally_owner;

GRANT SELECT ON TABLE parked_order TO tally_reader;
GRANT SELECT ON TABLE parked_order TO tally_gateway;
GRANT SELECT,INSERT,DELETE ON TABLE parked_order TO tally_owner;

GRANT SELECT ON TABLE partition TO tally_reader;
GRANT SELECT ON TABLE partition TO tally_gateway;
GRANT SELECT,UPDATE ON TABLE partition TO tally_owner;

GRANT SELECT ON TABLE payment_order TO tally_reader;
GRANT SELECT ON TABLE payment_order TO tally_gateway;
GRANT SELECT,INSERT ON TABLE payment_order TO tally_owner;

GRANT SELECT ON TABLE payment_split TO tally_reader;
GRANT SELECT ON TABLE payment_split TO tally_gateway;
GRANT SELECT,INSERT ON TABLE payment_split TO tally_owner;

GRANT SELECT ON TABLE payment_standing TO tally_reader;
GRANT SELECT ON TABLE payment_standing TO tally_gateway;
GRANT SELECT,INSERT,UPDATE ON TABLE payment_standing TO tally_owner;

GRANT SELECT ON TABLE personal_data TO tally_gateway;
GRANT SELECT,INSERT ON TABLE personal_data TO tally_owner;

GRANT SELECT ON TABLE psp_event TO tally_reader;
GRANT SELECT ON TABLE psp_event TO tally_gateway;
GRANT SELECT,INSERT ON TABLE psp_event TO tally_owner;

GRANT SELECT ON TABLE psp_event_pending TO tally_reader;
GRANT SELECT ON TABLE psp_event_pending TO tally_gateway;
GRANT SELECT,INSERT,DELETE ON TABLE psp_event_pending TO tally_owner;

GRANT UPDATE(due_at) ON TABLE psp_event_pending TO tally_owner;

GRANT UPDATE(look_count) ON TABLE psp_event_pending TO tally_owner;

GRANT SELECT ON TABLE psp_event_result TO tally_reader;
GRANT SELECT ON TABLE psp_event_result TO tally_gateway;
GRANT SELECT,INSERT ON TABLE psp_event_result TO tally_owner;

GRANT SELECT ON TABLE refused_request TO tally_reader;
GRANT SELECT ON TABLE refused_request TO tally_gateway;
GRANT SELECT,INSERT ON TABLE refused_request TO tally_owner;

GRANT SELECT,INSERT ON TABLE request_log TO tally_gateway;

GRANT SELECT(slot) ON TABLE request_log TO tally_reader;

GRANT SELECT(first_no) ON TABLE request_log TO tally_reader;

GRANT SELECT(last_no) ON TABLE request_log TO tally_reader;

GRANT SELECT(merchant_no) ON TABLE request_log TO tally_reader;

GRANT SELECT(mode) ON TABLE request_log TO tally_reader;

GRANT SELECT(request_count) ON TABLE request_log TO tally_reader;

GRANT SELECT(heads) ON TABLE request_log TO tally_reader;

GRANT SELECT ON TABLE request_log_turn TO tally_reader;

GRANT SELECT ON TABLE schema_migration TO tally_reader;
GRANT SELECT ON TABLE schema_migration TO tally_gateway;
GRANT SELECT ON TABLE schema_migration TO tally_owner;

GRANT SELECT ON TABLE seller TO tally_reader;
GRANT SELECT,INSERT,UPDATE ON TABLE seller TO tally_gateway;
GRANT SELECT ON TABLE seller TO tally_owner;

GRANT SELECT ON TABLE server_start TO tally_reader;
GRANT SELECT ON TABLE server_start TO tally_gateway;
GRANT SELECT,INSERT ON TABLE server_start TO tally_owner;

GRANT SELECT ON TABLE set_aside_order TO tally_reader;
GRANT SELECT ON TABLE set_aside_order TO tally_gateway;
GRANT SELECT,INSERT ON TABLE set_aside_order TO tally_owner;

GRANT SELECT ON TABLE slice TO tally_reader;
GRANT SELECT ON TABLE slice TO tally_gateway;
GRANT SELECT,INSERT,UPDATE ON TABLE slice TO tally_owner;

GRANT SELECT ON TABLE timer TO tally_reader;
GRANT SELECT ON TABLE timer TO tally_gateway;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE timer TO tally_owner;

GRANT SELECT ON TABLE webhook_delivery TO tally_reader;
GRANT SELECT ON TABLE webhook_delivery TO tally_gateway;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE webhook_delivery TO tally_owner;

GRANT UPDATE(state) ON TABLE webhook_delivery TO tally_gateway;

GRANT UPDATE(round_try_count) ON TABLE webhook_delivery TO tally_gateway;

GRANT UPDATE(due_at) ON TABLE webhook_delivery TO tally_gateway;

GRANT SELECT ON TABLE webhook_dispatcher TO tally_reader;
GRANT SELECT ON TABLE webhook_dispatcher TO tally_gateway;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE webhook_dispatcher TO tally_owner;

GRANT SELECT,INSERT,UPDATE ON TABLE webhook_endpoint TO tally_gateway;
GRANT SELECT ON TABLE webhook_endpoint TO tally_owner;

GRANT SELECT(endpoint_no) ON TABLE webhook_endpoint TO tally_reader;

GRANT SELECT(merchant_no) ON TABLE webhook_endpoint TO tally_reader;

GRANT SELECT(mode) ON TABLE webhook_endpoint TO tally_reader;

GRANT SELECT(types) ON TABLE webhook_endpoint TO tally_reader;

GRANT SELECT(status) ON TABLE webhook_endpoint TO tally_reader;
GRANT UPDATE(status) ON TABLE webhook_endpoint TO tally_owner;

GRANT SELECT(status_reason) ON TABLE webhook_endpoint TO tally_reader;
GRANT UPDATE(status_reason) ON TABLE webhook_endpoint TO tally_owner;

GRANT SELECT(status_at) ON TABLE webhook_endpoint TO tally_reader;
GRANT UPDATE(status_at) ON TABLE webhook_endpoint TO tally_owner;

GRANT SELECT(created_at) ON TABLE webhook_endpoint TO tally_reader;

GRANT SELECT(updated_at) ON TABLE webhook_endpoint TO tally_reader;
GRANT UPDATE(updated_at) ON TABLE webhook_endpoint TO tally_owner;

GRANT SELECT(deleted_at) ON TABLE webhook_endpoint TO tally_reader;

GRANT SELECT ON TABLE webhook_progress TO tally_reader;
GRANT SELECT,INSERT ON TABLE webhook_progress TO tally_gateway;
GRANT SELECT,UPDATE ON TABLE webhook_progress TO tally_owner;

GRANT UPDATE(failing_since) ON TABLE webhook_progress TO tally_gateway;

GRANT SELECT ON TABLE webhook_secret TO tally_owner;
GRANT INSERT ON TABLE webhook_secret TO tally_gateway;

GRANT SELECT(secret_no) ON TABLE webhook_secret TO tally_gateway;

GRANT SELECT(endpoint_no) ON TABLE webhook_secret TO tally_gateway;

GRANT SELECT(created_at) ON TABLE webhook_secret TO tally_gateway;

GRANT SELECT(expires_at),UPDATE(expires_at) ON TABLE webhook_secret TO tally_gateway;
