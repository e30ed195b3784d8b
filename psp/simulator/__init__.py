"""A PSP for tests, demonstrations and load: a real HTTP server with faults on request.

``python -m psp.simulator --port N --data DIR`` starts it. Its log is the oracle: what it says was
charged, was.
"""
