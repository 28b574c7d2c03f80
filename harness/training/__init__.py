"""L3: retraining and fine-tuning: samples, schedule, optimiser, checkpoints, the loop."""
