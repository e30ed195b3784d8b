"""The connector to Stripe: PaymentIntents over HTTP."""
