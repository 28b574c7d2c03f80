"""Annotation files checked, converted, edited, fetched."""
