"""L5: terminal, flags, exit codes; one small module a command."""
