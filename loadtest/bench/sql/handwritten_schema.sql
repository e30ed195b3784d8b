-- The tables of the handwritten baseline: what Tallystick keeps of a payment, in the form that a good
-- engineer gives it for one server: numbered by sequence, not split, two indexes on random values at
-- most. Only a seller's wallet has a balance row: one for the PSP or for fees, which every payment
-- would update, would make all of them wait for each other.

CREATE TABLE wallet (
    seller_id     text   PRIMARY KEY,
    balance_minor bigint NOT NULL DEFAULT 0 CHECK (balance_minor >= 0),
    version       bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

CREATE TABLE payment_order (
    order_no        bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    merchant_no     integer     NOT NULL,
    idempotency_key uuid        NOT NULL,
    seller_id       text        NOT NULL REFERENCES wallet,
    amount_minor    bigint      NOT NULL CHECK (amount_minor BETWEEN 1 AND 9007199254740991),
    currency        char(3)     NOT NULL,
    fee_minor       bigint      NOT NULL CHECK (fee_minor BETWEEN 0 AND amount_minor),
    fingerprint     bytea       NOT NULL,
    accepted_at     timestamptz NOT NULL DEFAULT now(),
    UNIQUE (merchant_no, idempotency_key)
);

CREATE TABLE attempt (
    order_no   bigint      NOT NULL,
    attempt_no smallint    NOT NULL,
    psp        text        NOT NULL,
    psp_key    text        NOT NULL,
    request    bytea       NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (order_no, attempt_no)
);

CREATE TABLE order_outcome (
    order_no              bigint      PRIMARY KEY,
    status                smallint    NOT NULL,
    amount_captured_minor bigint      NOT NULL CHECK (amount_captured_minor >= 0),
    psp_reference         text,
    failure_code          text,
    recorded_at           timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE event (
    order_no   bigint      NOT NULL,
    sequence   smallint    NOT NULL,
    type       smallint    NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (order_no, sequence)
);

CREATE TABLE transfer (
    order_no       bigint      NOT NULL,
    step           smallint    NOT NULL,
    debit_account  text        NOT NULL,
    credit_account text        NOT NULL,
    amount_minor   bigint      NOT NULL CHECK (amount_minor > 0),
    currency       char(3)     NOT NULL,
    recorded_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (order_no, step),
    CHECK (debit_account <> credit_account)
);
