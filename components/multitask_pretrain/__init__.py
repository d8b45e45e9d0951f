"""Pretrain on keywords and weighted concepts at once: a head for each."""
