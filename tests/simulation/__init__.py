"""The seeded simulation: real domain, owner and accepting code on a virtual clock, stores and PSP simulated."""
