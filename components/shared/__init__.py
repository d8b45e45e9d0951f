"""What the stages share: their interface, their data formats, the training loop."""
