"""Edits on plain Hugging Face models, without a bridge and without a processor."""
