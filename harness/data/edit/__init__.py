"""Annotation files put right, joined, dealt out and cut down."""
