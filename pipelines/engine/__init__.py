"""Runs on this machine: processes or containers, and the cache."""
