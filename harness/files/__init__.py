"""Atomic files, digests, downloads, the environment. Nothing else touches the network."""
