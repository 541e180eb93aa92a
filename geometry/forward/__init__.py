"""Forward passes: hooks, batches, the prefix cache and capture."""
