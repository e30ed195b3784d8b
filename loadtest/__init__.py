"""Load and measurement. What loads knows the system by its API alone; ``bench`` also starts stacks and
looks at their servers from outside, and ``books`` fills large books to measure on.
"""
