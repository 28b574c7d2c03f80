"""L4: the straight lines: evaluate, bench, score."""
