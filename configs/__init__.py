"""Data only: training recipes and word lists, read through `importlib.resources`."""
