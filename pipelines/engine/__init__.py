"""Runs on this machine: in processes or containers, with a cache."""
