"""What turns images into detections."""
