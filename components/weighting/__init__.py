"""Weight the concepts near an image's label by how well its text fits them."""
