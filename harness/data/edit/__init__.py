"""Annotation files corrected, joined, split and cut down."""
