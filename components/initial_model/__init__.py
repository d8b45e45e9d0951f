"""Fetch the weights that trainings start from, once, and check them."""
