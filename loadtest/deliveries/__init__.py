"""How many webhooks a second reach their receivers: ``python -m loadtest.deliveries``."""
