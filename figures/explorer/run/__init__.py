"""A run as the explorer reads it: items, prompts, answers and selections."""
