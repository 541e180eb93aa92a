"""Figures drawn from tables: one figure a file; no model is loaded."""
