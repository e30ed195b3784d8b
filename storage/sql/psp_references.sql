-- Providers' own names for charges.

-- attempt_of_payment_intent --
-- Whose PaymentIntent ($2) at a provider ($1) it is. Its id is in the books before it is confirmed, so one that
-- was charged is found: by an index where its order has ended, and among the open orders before. Outcomes of
-- captures and refunds name it, too, and have no payment.
SELECT o.order_uuid, found.attempt_no
FROM (
    SELECT partition_index, order_no, attempt_no FROM order_outcome
    WHERE psp = $1 AND psp_reference = $2 AND left(psp_reference, 3) = 'pi_'
    UNION ALL
    SELECT n.partition_index, n.order_no, n.attempt_no FROM open_order AS n
    JOIN attempt AS tried
        ON tried.partition_index = n.partition_index AND tried.order_no = n.order_no
        AND tried.attempt_no = n.attempt_no
    WHERE n.psp_reference = $2 AND tried.psp = $1
) AS found
JOIN payment_order AS o
    ON o.partition_index = found.partition_index AND o.order_no = found.order_no
LIMIT 1;
