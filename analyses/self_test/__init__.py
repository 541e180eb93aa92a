"""Tests of a user's own model and machine: `regap doctor`."""
