"""The checker: joins independent records of one run and says whether every invariant held.

Pure but for its loaders: ``check_records`` takes plain values, so that a simulation feeds it what a
real stack does.
"""
