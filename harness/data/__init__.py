"""Images and ground truth."""
