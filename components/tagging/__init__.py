"""Tag each image with the nouns and adjectives of its text."""
