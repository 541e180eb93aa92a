"""Correction packs: an edit, its card and the identity of its model in one folder."""
