"""The lock file, downloads, checkpoints read safely."""
