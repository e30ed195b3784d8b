"""What `tally verify` does: recompute the books from their rows, and compare them with the PSPs' own records.

Shares no code with what writes the books but types: a mistake of theirs must not be repeated here.
"""
