"""Models: how they are trained, evaluated and run."""
