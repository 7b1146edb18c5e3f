"""Registry files: which models there are, read as data."""
