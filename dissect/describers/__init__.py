"""Systems that describe units, one file each. What they say is weighed by the statistics in `naming/`."""
