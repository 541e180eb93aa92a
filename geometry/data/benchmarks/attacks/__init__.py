"""Benchmarks of harmful requests shown as images: one loader a file."""
