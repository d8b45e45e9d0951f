"""Stages of a few lines, to test the engine with."""
