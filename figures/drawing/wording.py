"""Sentences that captions share."""

import pandas as pd

INTERVAL = "Bands and bars are 95 % intervals from a bootstrap that resamples whole clusters of pairs."


def counted(numbers: pd.Series, what: str) -> str:
    """Return the number of observations behind the estimates, as a number or a range."""
    low, high = int(numbers.min()), int(numbers.max())
    return f"n = {low:,} {what}" if low == high else f"n = {low:,} to {high:,} {what}"


def caption_of(*sentences: str) -> str:
    """Return the sentences as one caption, without empty ones."""
    return " ".join(sentence for sentence in sentences if sentence)


def criteria_of(claims: pd.DataFrame) -> str:
    """Return when the criteria of the claims in a table were written."""
    if "regap" not in set(claims["claim"]):
        return "The criteria were written before the analyses were run."
    return (
        "The criteria were written before the analyses were run, except the one of the claim about ReGap, which was "
        "revised once after a first look at results."
    )
