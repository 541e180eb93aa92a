"""The views of the explorer: one a file."""
