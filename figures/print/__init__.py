"""Figures and tables for papers and slides."""
