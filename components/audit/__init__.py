"""Find training images whose labels look wrong, and near-duplicates."""
