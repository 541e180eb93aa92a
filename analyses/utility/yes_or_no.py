"""Whether an answer says yes or no, by the rules of MME and POPE."""


def read_mme(text: str) -> str:
    """Return yes or no, or "" if the answer opens with neither.

    MME's rule, ignoring case and full stops: the answer is yes, no, y or n, or its first four characters contain one
    of the words; yes wins.
    """
    said = text.lower().strip().replace(".", "")
    if len(said) == 1:
        return {"y": "yes", "n": "no"}.get(said, "")
    return next((word for word in ("yes", "no") if word in said[:4]), "")


def read_pope(text: str) -> str:
    """Return no if the first sentence, without commas, contains the word No, no or not; else yes.

    POPE's rule has no third value: an empty answer, most refusals and "NO" count as yes. Refused and unread answers
    are also counted separately.
    """
    words = text.split(".")[0].replace(",", "").split(" ")
    return "no" if {"No", "no", "not"} & set(words) else "yes"


def says_either(text: str) -> bool:
    """True if the answer contains yes, no or not as a word, in any case."""
    words = "".join(letter if letter.isalpha() else " " for letter in text.lower()).split()
    return bool({"yes", "no", "not"} & set(words))
