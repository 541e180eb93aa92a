"""Adapters to other tools; each needs an extra, and is imported only when it is used."""
