"""The tables of a run folder and their columns."""
