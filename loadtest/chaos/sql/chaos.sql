-- What `tally chaos` asks the books while faults are made, under the read-only role.

-- progress --
-- How many orders were ever taken in, and how many of them are open.
SELECT (SELECT sum(order_no_last) FROM partition)::bigint AS taken_in,
    (SELECT count(*) FROM open_order)::bigint AS open;

-- unknown --
-- Orders of which a PSP may have done what we were not told. One number names each.
SELECT partition_index * 1000000000000::bigint + order_no AS id
FROM open_order WHERE NOT is_outcome_known LIMIT 20000;
