-- What `tally verify` looks at: the books recomputed from their rows, in one snapshot.
--
-- A check returns one row for each thing it looked at. The last column, `finding`, is NULL where all
-- is well, and else says what is wrong; the columns before it say where. Nothing here was taken from
-- what writes the rows: a mistake of theirs must not be repeated.

-- prepare --
-- Before the snapshot, because a read-only transaction creates nothing. Temporary tables are this
-- session's own: the books stay untouched.
CREATE TEMPORARY TABLE posted (
    partition_index smallint, account_no bigint, debits_minor numeric, credits_minor numeric,
    debits_pending_minor numeric, credits_pending_minor numeric, transfer_count bigint
);
-- Orders and operations share one numbering a partition, and everything that goes by such a number.
CREATE TEMPORARY VIEW numbered AS
    SELECT partition_index, order_no, order_uuid, NULL::smallint AS operation_kind FROM payment_order
    UNION ALL
    SELECT partition_index, order_no, operation_uuid, kind FROM operation
    UNION ALL
    -- 9: a dispute, which has no identity, is never open, and has no outcome.
    SELECT partition_index, order_no, NULL, 9::smallint FROM dispute;
-- Orders of several sellers, with how many parts they have. An order that is not here is all its seller's.
CREATE TEMPORARY VIEW parted AS
    SELECT partition_index, order_no, count(*) AS part_count,
        count(*) FILTER (WHERE fee_minor > 0) AS part_fee_count,
        sum(amount_minor) AS parts_minor, sum(fee_minor) AS part_fees_minor
    FROM payment_split GROUP BY partition_index, order_no;
-- A charge whose key is one of ours (is_ours) names its order by that; key, merchant and order key are
-- kept of the others alone, which name an order by merchant and key only.
CREATE TEMPORARY TABLE oracle_charge (
    psp text, n bigint, reference text, status text, amount_minor bigint, captured_minor bigint,
    refunded_minor bigint, charged_back_minor bigint, changed_n bigint, currency text,
    is_ours boolean, partition_index smallint, order_uuid uuid, attempt_no integer, psp_key text,
    merchant_id text, order_key text
);
CREATE FUNCTION pg_temp.canonical_text(value text) RETURNS bytea
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN value IS NULL THEN int4send(-1)
        ELSE int4send(octet_length(value)) || convert_to(value, 'UTF8') END
$$;
CREATE FUNCTION pg_temp.canonical_time(value timestamptz) RETURNS bytea
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN value IS NULL THEN '\x000000000000000000'::bytea
        ELSE '\x01'::bytea || int8send((extract(epoch FROM value) * 1000000)::bigint) END
$$;
CREATE FUNCTION pg_temp.letters(hexadecimal text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT translate(hexadecimal, '0123456789abcdef', 'bcdfghjkmnpqrstv')
$$;

-- begin --
-- Everything after this is one moment of the books, whatever is paid meanwhile.
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;

-- summary --
-- The first query of the transaction: it takes the snapshot.
SELECT clock_timestamp() AS taken_at, pg_current_wal_insert_lsn()::text AS wal_position,
       deployment.deployment_id::text AS deployment_id, deployment.partition_count,
       (SELECT count(*) FROM open_order) AS open_order_count
FROM deployment;

-- export --
-- Another session may look at the same moment for as long as this transaction lasts.
SELECT pg_export_snapshot() AS snapshot_id;

-- counted --
SELECT count(*) AS checked, count(finding) AS violations FROM (
{check}
) AS looked_at;

-- first_found --
SELECT * FROM (
{check}
) AS looked_at
WHERE finding IS NOT NULL ORDER BY 1, 2 LIMIT 1;

-- counted_charges --
-- As `counted`, with what is in flight: rightly not in the books of the snapshot.
SELECT count(*) AS checked, count(finding) AS violations,
       count(*) FILTER (WHERE in_flight = 'open') AS of_open_orders,
       count(*) FILTER (WHERE in_flight = 'newer') AS of_newer_orders
FROM (
{check}
) AS looked_at;

-- analyze_charges --
-- Fresh temporary tables have no statistics, and a join of a million rows needs them.
ANALYZE oracle_charge;

-- recompute_accounts --
-- What each slice should hold, from the transfers alone: an authorization (kind 3) is pending, a
-- capture (4) posts that or a part of it, a release (5) ends it; every other kind is posted. Pairs of
-- accounts are summed first: there are far fewer of them than transfers.
WITH pair AS (
    SELECT partition_index, debit_account_no, credit_account_no,
           sum(CASE WHEN kind IN (3, 5) THEN 0 ELSE amount_minor END) AS amount_minor,
           sum(CASE kind WHEN 3 THEN amount_minor WHEN 4 THEN -amount_minor
               WHEN 5 THEN -amount_minor ELSE 0 END) AS pending_minor,
           count(*) AS transfer_count
    FROM transfer GROUP BY partition_index, debit_account_no, credit_account_no
)
INSERT INTO posted
SELECT partition_index, side.account_no, sum(side.debit_minor), sum(side.credit_minor),
       sum(side.debit_pending_minor), sum(side.credit_pending_minor), sum(transfer_count)
FROM pair
CROSS JOIN LATERAL (VALUES (debit_account_no, amount_minor, 0, pending_minor, 0),
                           (credit_account_no, 0, amount_minor, 0, pending_minor))
    AS side (account_no, debit_minor, credit_minor, debit_pending_minor, credit_pending_minor)
GROUP BY partition_index, side.account_no;
