"""Proofs that two networks compute the same: stage by stage, bit for bit, or within rounding."""
