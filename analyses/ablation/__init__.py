"""Ablations and sweeps, layer by layer."""
