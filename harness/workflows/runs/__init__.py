"""Run folders: their files, their lock and log, their records."""
