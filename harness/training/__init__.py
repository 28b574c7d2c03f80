"""Retraining and fine-tuning: samples, schedule, optimiser, checkpoints, the loop."""
