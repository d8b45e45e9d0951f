"""What `python -m pipelines.predict` is built on: pictures in, tables out."""
