"""Defences compared under the same rules."""
