"""The figures of a run, one a file: `draw` makes it from its tables, `caption` says what it shows."""
