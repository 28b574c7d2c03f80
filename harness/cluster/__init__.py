"""Runs on a SLURM cluster: submitted here, carried out on its nodes, asked after later."""
