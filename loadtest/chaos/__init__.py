"""``tally chaos``: faults by a seeded plan, on a stack of its own, under load, and what they did."""
