"""Whether an answer says yes or no, as MME and POPE read it."""


def read_mme(text: str) -> str:
    """Return yes or no, or nothing where neither opens the answer.

    MME's rule: the answer in lower case, full stops apart, is yes, no, y or n, or one of the words stands in its first
    four characters; yes wins.
    """
    said = text.lower().strip().replace(".", "")
    if len(said) == 1:
        return {"y": "yes", "n": "no"}.get(said, "")
    return next((word for word in ("yes", "no") if word in said[:4]), "")


def read_pope(text: str) -> str:
    """Return no if one of the words No, no and not stands in the first sentence, commas apart; else yes.

    POPE's rule, which knows no third: an empty answer and most refusals say yes, and "NO" does. What it cannot tell is
    counted apart, as refused and unread.
    """
    words = text.split(".")[0].replace(",", "").split(" ")
    return "no" if {"No", "no", "not"} & set(words) else "yes"


def says_either(text: str) -> bool:
    """True if yes or no stands in the answer as a word, in any case."""
    words = "".join(letter if letter.isalpha() else " " for letter in text.lower()).split()
    return bool({"yes", "no", "not"} & set(words))
