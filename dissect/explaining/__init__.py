"""One image: which units decided."""
