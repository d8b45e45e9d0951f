"""The kinds of data that travel between stages."""
