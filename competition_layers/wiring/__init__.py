"""How a network is wired: one trace, and what is asked of it."""
