"""A run: its settings, its folder, its model and pairs, and everything that is measured in it."""
