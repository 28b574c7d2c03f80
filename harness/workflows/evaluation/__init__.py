"""Accuracy of a model: inference into shards, merging, scoring, verdict."""
