"""Annotations of other programs, as one COCO annotation file."""
