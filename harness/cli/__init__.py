"""L5: terminal, options, exit codes; one small module a command."""
