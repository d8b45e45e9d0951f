"""A compiled pipeline, and the record of its run in tables and pictures."""
