-- The statements of the handwritten baseline: two round trips of work in one transaction.

-- begin_order --
-- Order, first attempt and first event in one statement. No row comes back for a key that is taken;
-- one that another transaction is just taking is waited for here, so its PSP is never asked twice.
WITH taken AS (
    INSERT INTO payment_order (merchant_no, idempotency_key, seller_id, amount_minor, currency,
        fee_minor, fingerprint)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT (merchant_no, idempotency_key) DO NOTHING
    RETURNING order_no
), attempts AS (
    INSERT INTO attempt (order_no, attempt_no, psp, psp_key, request)
    SELECT order_no, 1, $8, $9, $10 FROM taken
), events AS (
    INSERT INTO event (order_no, sequence, type) SELECT order_no, 1, 1 FROM taken
)
SELECT order_no FROM taken;

-- settle_order --
-- Outcome, both transfers, second event and the wallet, after the PSP's approval. The wallet's row,
-- which payments of one seller wait for, is locked by the last statement before COMMIT.
WITH outcomes AS (
    INSERT INTO order_outcome (order_no, status, amount_captured_minor, psp_reference)
    VALUES ($1, 5, $2, $3)
), transfers AS (
    INSERT INTO transfer (order_no, step, debit_account, credit_account, amount_minor, currency)
    VALUES ($1, 1, 'psp', 'wallet:' || $4, $2, $6), ($1, 2, 'wallet:' || $4, 'fees', $5, $6)
), events AS (
    INSERT INTO event (order_no, sequence, type) VALUES ($1, 2, 2)
)
UPDATE wallet SET balance_minor = balance_minor + $2::bigint - $5::bigint, version = version + 1
WHERE seller_id = $4;

-- refuse_order --
WITH events AS (
    INSERT INTO event (order_no, sequence, type) VALUES ($1, 2, 3)
)
INSERT INTO order_outcome (order_no, status, amount_captured_minor, failure_code)
VALUES ($1, 7, 0, $2);

-- find_order --
SELECT fingerprint, status, amount_captured_minor FROM payment_order JOIN order_outcome USING (order_no)
WHERE merchant_no = $1 AND idempotency_key = $2;

-- audit --
-- Every order has its outcome, its two transfers and its two events; every wallet is their sum.
SELECT (SELECT count(*) FROM payment_order) AS orders,
    (SELECT count(*) FROM order_outcome) AS outcomes,
    (SELECT count(*) FROM transfer) AS transfers,
    (SELECT count(*) FROM event) AS events,
    (SELECT sum(version) FROM wallet) AS wallet_versions,
    (SELECT sum(balance_minor) FROM wallet) AS wallets_minor,
    (SELECT sum(CASE step WHEN 1 THEN amount_minor ELSE -amount_minor END) FROM transfer)
        AS transferred_minor;
