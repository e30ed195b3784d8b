"""``tally top``: reading, computing, rendering, each on its own."""
