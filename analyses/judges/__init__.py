"""Judges of stored answers, all of one function type, and how far they agree: one judge a file."""
