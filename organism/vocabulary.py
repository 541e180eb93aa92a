"""The organism's tokens: one for every word of the world and of its sentences."""

from typing import Any

from regap.organism import sentences, world

PAD, BEGIN, END, UNKNOWN, IMAGE = "<pad>", "<s>", "</s>", "<unk>", "<image>"
USER, ASSISTANT = "user:", "assistant:"
SPECIAL = (PAD, BEGIN, END, UNKNOWN, IMAGE)


def readable_words() -> tuple[str, ...]:
    """Every word that can appear in a picture, in a fixed order."""
    phrases = (world.VERBS, world.ADJECTIVES, world.NOUNS, world.FRAMES, world.CONTEXTS)
    return _distinct(("the", *(word for group in phrases for phrase in group for word in phrase.split())))


def tokens() -> tuple[str, ...]:
    """Every token, ordered by its number."""
    rest = (
        *world.REFUSALS,
        *sentences.every_template(),
        world.ANSWER,
        *world.TOOLS,
        *world.VESSELS,
        *world.MANNERS,
    )
    words = (word for phrase in rest for word in phrase.split() if not word.startswith("{"))
    return _distinct((*SPECIAL, USER, ASSISTANT, *readable_words(), *words))


def numbers() -> dict[str, int]:
    """The number of each token."""
    return {token: number for number, token in enumerate(tokens())}


def is_spoken_by(tokenizer: Any) -> bool:
    """Whether a tokenizer has the organism's tokens and no others: its model is then an organism, wherever it lies."""
    return len(tokenizer) == len(numbers()) and tokenizer.get_vocab() == numbers()


def _distinct(words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(words))
