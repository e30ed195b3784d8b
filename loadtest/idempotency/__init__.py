"""The promises about idempotency, each tried on a running deployment over HTTP alone.

A row is one promise of docs/API.md with the function that tries it. Rows share nothing: each draws its
own keys, and its own seller where money is counted. What can't be tried is skipped, with its reason.
"""
