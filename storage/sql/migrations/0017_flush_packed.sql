-- A flush as one parameter, which its owner packs itself (storage/flush_packing.py).
-- Only adds types: owners of before go on as they did.
-- migrate:up

-- All rows of a flush, an array of each kind (see 0002).
CREATE TYPE flush_books AS (
    heads flush_head[], orders flush_payment[], personal flush_personal[],
    attempts flush_attempt[], progress flush_standing[], timers flush_timer[],
    outcomes flush_outcome[], transfers flush_transfer[], accounts flush_account[],
    posted flush_posting[], new_slices flush_posting[], events flush_told_event[],
    refused flush_refused[]
);
-- The driver can be told to take a domain's values as bytes, and not a composite type's.
CREATE DOMAIN packed_flush AS flush_books;
