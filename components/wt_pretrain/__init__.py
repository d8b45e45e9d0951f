"""Pretrain on keywords: the weakly-tagged set (WT)."""
