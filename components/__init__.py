"""The stages of the pipeline: one folder each, and what they share."""
