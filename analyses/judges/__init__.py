"""Judges of answers, and how far they agree. A judge is a function from a pair and its completion to a verdict."""
