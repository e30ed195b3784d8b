-- Keeps the numbers without a gap; changes nothing.
-- migrate:up

SELECT 1;
