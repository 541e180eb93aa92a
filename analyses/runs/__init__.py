"""A run: its settings, its folder, its model and pairs, and its analyses."""
