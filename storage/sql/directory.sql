-- Merchants, sellers, API keys, and what the operator wants.

-- api_key --
SELECT key.key_id, key.secret_hmac, key.role, key.merchant_no, merchant.merchant_id, key.mode,
       key.revoked_at IS NOT NULL AS is_revoked
FROM api_key AS key
LEFT JOIN merchant ON merchant.merchant_no = key.merchant_no
WHERE key.key_id = $1;

-- store_api_key --
-- The key and its audit row, whole or not at all.
WITH stored AS (
    INSERT INTO api_key (key_id, secret_hmac, role, merchant_no, mode, revoked_at)
    VALUES ($1, $2, $3, $4, $5, CASE WHEN $6::boolean THEN now() END)
    RETURNING key_id, role, merchant_no, mode
)
INSERT INTO audit (actor, action, subject, detail)
SELECT $7, 'api_key.create', key_id,
       jsonb_build_object('role', role, 'merchant_no', merchant_no, 'mode', mode)
FROM stored;

-- sellers_named --
-- LATERAL ... LIMIT 1 keeps the planner at one index look-up a key, whatever it believes of the table's size.
SELECT named.merchant_no, named.mode, named.seller_no, named.seller_id, named.name,
       named.fee_basis_points, named.fee_fixed, named.fee_fixed_default, named.created_at
FROM unnest($1::integer[], $2::smallint[], $3::text[]) AS wanted (merchant_no, mode, seller_id)
CROSS JOIN LATERAL (
    SELECT * FROM seller AS candidate
    WHERE candidate.merchant_no = wanted.merchant_no
      AND candidate.mode = wanted.mode
      AND candidate.seller_id = wanted.seller_id
    LIMIT 1
) AS named;

-- sellers --
-- One page after a seller's id ('' begins), in the order of ids as bytes, one more than asked for.
SELECT seller_no, seller_id, name, fee_basis_points, fee_fixed, fee_fixed_default, created_at
FROM seller
WHERE merchant_no = $1 AND mode = $2 AND seller_id > $3
ORDER BY seller_id
LIMIT $4;

-- create_seller --
-- No row comes back when that id is taken.
INSERT INTO seller (merchant_no, mode, seller_id, name, fee_basis_points, fee_fixed, fee_fixed_default)
VALUES ($1, $2, $3, $4, $5, $6::jsonb, $7)
ON CONFLICT (merchant_no, mode, seller_id) DO NOTHING
RETURNING seller_no, seller_id, name, fee_basis_points, fee_fixed, fee_fixed_default, created_at;

-- create_merchant --
-- A merchant, its own seller in test (1) and live (2), and the audit row, whole or not at all. Nothing is
-- written and no row comes back when that id is taken.
WITH created AS (
    INSERT INTO merchant (merchant_id, name) VALUES ($1, $2)
    ON CONFLICT (merchant_id) DO NOTHING
    RETURNING merchant_no, merchant_id, name, created_at
), sellers AS (
    INSERT INTO seller (merchant_no, mode, seller_id, name, fee_basis_points, fee_fixed, fee_fixed_default)
    SELECT merchant_no, mode, merchant_id, name, $3::integer, $4::jsonb, $5::bigint
    FROM created, (VALUES (1), (2)) AS modes (mode)
), audited AS (
    INSERT INTO audit (actor, action, subject, detail)
    SELECT $6, 'merchant.create', merchant_id, jsonb_build_object('name', name) FROM created
)
SELECT merchant_no, merchant_id, name, created_at FROM created;

-- intents --
SELECT key, value FROM intent;

-- set_intent --
-- What is no longer wanted says so (false): rows are never deleted. The audit row keeps the value.
WITH stored AS (
    INSERT INTO intent (key, value) VALUES ($1, $2::jsonb)
    ON CONFLICT (key) DO UPDATE SET value = excluded.value, updated_at = now()
    RETURNING key, value
)
INSERT INTO audit (actor, action, subject, detail)
SELECT $3, 'intent.set', key, jsonb_build_object('value', value) FROM stored;
