"""L3: where work runs."""
