"""Label every training image with the best models' predictions."""
