"""Bad requests by the thousand: each made from a seed, each with the answer that it must get.

A class of bad requests is one small function with its expectation beside it. Over HTTP alone it is
checked that every answer is the documented refusal, and that nothing came of any of them.
"""
