"""Edits of the residual stream: one kind a file."""
