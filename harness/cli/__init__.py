"""Terminal, options, exit codes; one small module a command."""
