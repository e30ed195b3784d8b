-- Installing a shard (storage/deployments.py).

-- role_statements --
-- The statements that create or refresh one role, quoted by the server.
SELECT CASE WHEN EXISTS (SELECT 1 FROM pg_roles WHERE rolname = $1::text)
    THEN format('ALTER ROLE %I LOGIN PASSWORD %L', $1::text, $2::text)
    ELSE format('CREATE ROLE %I LOGIN PASSWORD %L', $1::text, $2::text)
END AS statement;

-- role_settings --
-- An owner frozen between two statements of a flush holds the locks of its partitions: the server
-- ends it.
ALTER ROLE tally_owner SET idle_in_transaction_session_timeout = '2s';
ALTER ROLE tally_gateway SET idle_in_transaction_session_timeout = '10s';
-- What a reader may ask is not on the way of a payment; it must not hold back vacuum for hours.
ALTER ROLE tally_reader SET default_transaction_read_only = on;
ALTER ROLE tally_reader SET statement_timeout = '5min';

-- create_deployment --
WITH made AS (
    INSERT INTO deployment
        (deployment_id, partition_count, shard_name, partition_first, partition_end,
        envelope_version)
    VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT (is_singleton) DO NOTHING
    RETURNING partition_first, partition_end
), partitions AS (
    INSERT INTO partition (partition_index, chain_hash)
    SELECT partition_index, $7::bytea FROM made, generate_series(made.partition_first,
        made.partition_end - 1)
        AS partition_index
    RETURNING 1
)
SELECT (SELECT count(*) FROM partitions) AS partitions_made;

-- read_deployment --
SELECT deployment_id, partition_count, shard_name, partition_first, partition_end, envelope_version
FROM deployment;
