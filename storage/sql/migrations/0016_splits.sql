-- Splits: whose parts a charge has, where it is several sellers'. What became of a part is in the transfers.
-- Only adds: code that does not know of it goes on as before, and takes in no order with splits.
-- migrate:up

CREATE TABLE payment_split (
    partition_index smallint NOT NULL,
    order_no        bigint   NOT NULL,
    position        smallint NOT NULL CHECK (position BETWEEN 0 AND 19),
    seller_no       integer  NOT NULL,
    amount_minor    bigint   NOT NULL CHECK (amount_minor BETWEEN 1 AND 9007199254740991),
    fee_minor       bigint   NOT NULL CHECK (fee_minor BETWEEN 0 AND amount_minor),
    PRIMARY KEY (partition_index, order_no, position),
    -- A wallet stands for one part: its transfers tell what became of that.
    UNIQUE (partition_index, order_no, seller_no)
);

-- Rows of a flush (see 0002).
CREATE TYPE flush_split AS (
    partition_index smallint, order_no bigint, position smallint, seller_no integer,
    amount_minor bigint, fee_minor bigint
);

GRANT SELECT ON payment_split TO tally_reader, tally_gateway, tally_owner;
GRANT INSERT ON payment_split TO tally_owner;
