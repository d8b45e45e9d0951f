"""Read a web-image data set; write the image set, texts and given labels."""
