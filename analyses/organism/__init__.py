"""Measurements of the bundled organism, and the wording for its questions."""
