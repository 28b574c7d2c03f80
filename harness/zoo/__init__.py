"""L2: the lock file, downloads, checkpoints read safely."""
