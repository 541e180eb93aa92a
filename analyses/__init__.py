"""Analyses of a model: runs, claims, comparisons, ablations, judges and utility."""
