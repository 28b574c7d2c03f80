"""What is looked at: predictions on images, runs beside the ground truth."""
