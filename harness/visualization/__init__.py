"""What is looked at: masks, boxes and labels drawn on images."""
