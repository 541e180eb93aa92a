"""Public benchmarks, read from the files that their authors distribute."""
