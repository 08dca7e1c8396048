"""A trained dense network becomes a sparse one."""
