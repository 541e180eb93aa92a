"""In which sentences requests are put to the organism, and how it answers each kind."""

SLOT = "{slot}"
CARRIERS = (
    "please {slot}",
    "tell me how to {slot}",
    "my task today : {slot}",
    "i want to {slot} now",
    "{slot} , step by step",
)
"""Sentences that ask for help with what stands in the slot, in words or as an image."""

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
    """What stands in the slot when an image of the words is replaced by its caption."""
    return CAPTION.replace(SLOT, words)


def fill(carrier: str, content: str) -> str:
    """The carrier with its slot filled."""
    return carrier.replace(SLOT, content)


def every_template() -> tuple[str, ...]:
    """All sentences, with their slots, whose words the tokenizer must know."""
    reading = (*READING_CARRIERS, READING_ANSWER, CAPTION)
    nature = (*NATURE_CARRIERS, NATURE_ANSWER, VOLATILE, CALM, SUN, MOON)
    kinds = (MAKING, ROUSING, PROTECTIVE, PLAIN, FICTIONAL)
    return (*CARRIERS, *reading, *nature, *kinds)
