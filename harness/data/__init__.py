"""L2: images and ground truth."""
