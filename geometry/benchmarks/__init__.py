"""The field's benchmarks, read as they are distributed: one file for each."""
