"""Benchmarks of text requests, harmful and harmless: one loader a file."""
