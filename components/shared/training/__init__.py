"""Models: how they are trained, measured, and asked."""
