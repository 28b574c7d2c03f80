"""COCO scoring, timing statistics and the arithmetic of verdicts. No files, no torch."""
