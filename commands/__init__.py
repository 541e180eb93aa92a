"""The command line: one file for each command, or a few related commands."""
