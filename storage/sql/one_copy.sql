-- Statements of storage/one_copy.py.

-- one_copy_left --
-- For how long an operator has the queue acknowledge on its primary alone, by this server's clock.
SELECT extract(epoch FROM (value #>> '{}')::timestamptz - clock_timestamp())::float8 AS left_s
FROM intent WHERE key = 'one_copy:redis';
