"""Label every training image with what the best models say."""
