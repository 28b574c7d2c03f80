"""L3: tables and pictures."""
