"""Doors to other tools: each needs its own extra, and is imported only when it is used."""
