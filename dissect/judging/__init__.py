"""How good descriptions are."""
