"""L3: what turns images into detections."""
