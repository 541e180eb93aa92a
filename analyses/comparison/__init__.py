"""Comparison of defences under the same rules."""
