"""Judges by the words of an answer: what it says, forms of refusals, published phrase lists."""
