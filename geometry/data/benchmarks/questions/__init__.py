"""Benchmarks of questions with a right answer: one loader a file."""
