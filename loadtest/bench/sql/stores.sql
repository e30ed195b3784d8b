-- What the benchmark asks the servers, and what it puts into a stack before it starts.

-- wal_position --
SELECT pg_wal_lsn_diff(pg_current_wal_flush_lsn(), '0/0')::bigint AS wal_bytes;

-- fsyncs --
-- Null where this server does not count them (WAL: from version 18 on).
SELECT (SELECT sum(fsyncs) FROM pg_stat_io WHERE object = 'wal')::bigint AS wal,
    (SELECT sum(fsyncs) FROM pg_stat_io WHERE object <> 'wal')::bigint AS data;

-- settings --
SELECT name, setting FROM pg_settings WHERE name = ANY ($1::text[]);

-- standbys --
SELECT application_name, state, sync_state FROM pg_stat_replication
WHERE application_name <> 'base_backup' ORDER BY application_name;

-- progress --
-- How many orders were ever taken in, and how many of them are open.
SELECT (SELECT sum(order_no_last) FROM partition)::bigint AS taken_in,
    (SELECT count(*) FROM open_order) AS open;

-- settled --
SELECT count(*) AS settled FROM order_outcome;

-- owners --
SELECT count(*) AS owned, count(DISTINCT owner) AS owners FROM partition WHERE owner IS NOT NULL;

-- make_sellers --
-- All of the sandbox merchant, in test mode, with its own fee; made once a stack.
INSERT INTO seller (merchant_no, mode, seller_id, name, fee_basis_points, fee_fixed, fee_fixed_default)
SELECT own.merchant_no, own.mode, made.id, made.id, own.fee_basis_points, own.fee_fixed,
    own.fee_fixed_default
FROM seller AS own JOIN merchant USING (merchant_no), unnest($2::text[]) AS made (id)
WHERE merchant.merchant_id = $1 AND own.seller_id = $1 AND own.mode = 1
ON CONFLICT DO NOTHING;

-- relation_sizes --
-- Bytes of each table with its children: its rows, its indexes, and what is stored apart.
SELECT coalesce(parent.relname, own.relname) AS name,
    sum(pg_relation_size(own.oid))::bigint AS table_bytes,
    sum(pg_indexes_size(own.oid))::bigint AS index_bytes,
    sum(pg_total_relation_size(own.oid) - pg_relation_size(own.oid) - pg_indexes_size(own.oid))::bigint
        AS other_bytes
FROM pg_class AS own
LEFT JOIN pg_inherits ON pg_inherits.inhrelid = own.oid
LEFT JOIN pg_class AS parent ON parent.oid = pg_inherits.inhparent
WHERE own.relkind = 'r' AND own.relnamespace = 'public'::regnamespace
GROUP BY 1 HAVING sum(pg_relation_size(own.oid)) > 0
ORDER BY sum(pg_total_relation_size(own.oid)) DESC;

-- engine_latency --
-- Of the orders taken in since then: from the transaction that took one in to the one that ended it.
SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY took_ms) AS p50_ms,
    percentile_disc(0.99) WITHIN GROUP (ORDER BY took_ms) AS p99_ms
FROM (
    SELECT (1000 * extract(epoch FROM recorded_at - taken_in_at))::float8 AS took_ms
    FROM payment_order JOIN order_outcome USING (partition_index, order_no)
    WHERE taken_in_at >= $1
) AS ended;

-- present --
SELECT clock_timestamp() AS present;

-- hosts --
SELECT host_name, pid FROM host_lease WHERE released_at IS NULL;

-- checkpoint --
-- Sizes are compared, so what is written is on disk first.
CHECKPOINT;

-- version --
SELECT current_setting('server_version') AS version;
