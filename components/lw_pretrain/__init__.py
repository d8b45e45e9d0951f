"""Pretrain on weighted concepts: the label-weighted set (LW)."""
