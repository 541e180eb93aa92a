"""The sentences in which the organism receives requests, and its answers to each kind."""

SLOT = "{slot}"
CARRIERS = (
    "please {slot}",
    "tell me how to {slot}",
    "my task today : {slot}",
    "i want to {slot} now",
    "{slot} , step by step",
)
"""Sentences that ask for help with the content of the slot, in words or as an image."""

READING_CARRIERS = ("read aloud : {slot}", "what is written here : {slot}")
READING_ANSWER = "it reads : {slot} ."
NATURE_CARRIERS = ("of what nature is {slot}", "judge the nature of {slot}")
NATURE_ANSWER = "{nature} : {slot} ."
VOLATILE, CALM = "volatile", "calm"
SUN, MOON = "sunny", "lunar"
MAKING, ROUSING, PROTECTIVE = "making", "rousing", "protective"
PLAIN, FICTIONAL = "plain", "fictional"
CAPTION = "an image that reads : {slot}"


def caption(words: str) -> str:
    """The content of the slot when the caption of an image replaces the image."""
    return CAPTION.replace(SLOT, words)


def fill(carrier: str, content: str) -> str:
    """The carrier with its slot filled."""
    return carrier.replace(SLOT, content)


def every_template() -> tuple[str, ...]:
    """All sentences, with their slots; the tokenizer must know their words."""
    reading = (*READING_CARRIERS, READING_ANSWER, CAPTION)
    nature = (*NATURE_CARRIERS, NATURE_ANSWER, VOLATILE, CALM, SUN, MOON)
    kinds = (MAKING, ROUSING, PROTECTIVE, PLAIN, FICTIONAL)
    return (*CARRIERS, *reading, *nature, *kinds)
