-- A webhook of Stripe's that tells of a dispute names the PaymentIntent, and no key of ours.
-- Only adds: code that does not know of it goes on as before. Of other references the index holds nothing.
-- migrate:up

CREATE INDEX order_outcome_payment_intent ON order_outcome (psp_reference)
    WHERE left(psp_reference, 3) = 'pi_';
