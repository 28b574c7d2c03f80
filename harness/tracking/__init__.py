"""Thin adapters to experiment trackers: what a run left, given to MLflow, W&B or TensorBoard."""
