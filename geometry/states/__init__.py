"""Residual streams in memory and on disk."""
