"""Train a classifier of the concepts, from a pretrained model or from scratch."""
