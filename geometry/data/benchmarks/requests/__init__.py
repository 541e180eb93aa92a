"""Benchmarks of requests in words, harmful and harmless: one loader a file."""
