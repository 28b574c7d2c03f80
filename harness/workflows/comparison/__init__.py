"""What differs between evaluations: two runs, two files of predictions, several runs in a table."""
