"""What an answer says: its text after thinking, in plain words, and why it may say nothing at all."""

import re
import unicodedata

CUT_OFF = "cut off while thinking"
"""The reason why an answer that ends inside its thinking is not judged."""

_NAMES = (
    "think",
    "thinking",
    "thought",
    "thoughts",
    "reason",
    "reasoning",
    "reflection",
    "scratchpad",
    "seed:think",
)
_MARKS = (
    *((rf"<{name}(?:\s[^<>]*)?>", rf"</{name}\s*>") for name in _NAMES),
    (r"\[THINK\]", r"\[/THINK\]"),
    (r"<\|begin_of_thought\|>", r"<\|end_of_thought\|>"),
    (r"◁think▷", r"◁/think▷"),
    (r"<\|channel>\s*thought\b", r"<channel\|>"),
)
"""Opening and closing marks of thinking."""
_BLOCKS = tuple(
    (re.compile(rf"^[ \t]*{opening}", re.MULTILINE | re.IGNORECASE), re.compile(closing, re.IGNORECASE))
    for opening, closing in _MARKS
)
_CLOSES = re.compile("|".join(closing for _, closing in _MARKS), re.IGNORECASE)
_CHANNEL = re.compile(
    r"(?:<\|start\|>assistant)?<\|channel\|>\s*(?P<name>\w+)[^<]*<\|message\|>(?P<text>.*?)"
    r"(?=<\|(?:end|return|call|start|channel)\|>|\Z)",
    re.DOTALL,
)
_BARE_CHANNEL = re.compile(r"(?:assistant)?(?:analysis|commentary)(?=[A-Z\"'“*])")
"""How channels begin where the special tokens between them have been left out."""
_BARE_THOUGHT = re.compile(r"thought\n")
_WRAPPED = re.compile(
    r"<(answer|response|conclusion|output)>(?P<text>.*?)(?:</\1>\s*|\Z)", re.DOTALL | re.IGNORECASE
)

_SPECIAL = re.compile(
    r"<\|[^<>|\s]{1,40}\|>|<｜[^<>]{1,40}｜>|</?s>|<(?:unk|pad|eos|bos|mask|eot|end_of_turn|start_of_turn|turn\|)>"
    r"|\[(?:PAD|UNK|EOS|BOS|CLS|SEP|MASK)\]|\[/?INST\]",
    re.IGNORECASE,
)
_LOOSE_MARKS = re.compile(r"[*_`#~|>]+|^\s*[-+]\s+", re.MULTILINE)
_GRAM = 6
"""Length of the strings of characters that are compared to find loops."""
_LEAST = 48
"""Fewest characters, without white space, in which loops are looked for."""


def after_thinking(text: str) -> str | None:
    """Return what a model says after its thinking; None if the text ends inside the thinking.

    Thinking is a block in marks such as <think>, <reasoning>, [THINK], or the channel analysis or thought. Closed
    blocks are taken off. A text that only closes a block began inside it, because the chat template opened it. An
    opening mark counts at the beginning of a line only, so that an answer can speak of the mark.
    """
    if "<|channel|>" in text and (found := _channels(text)) is not None:
        return found or None
    if _BARE_CHANNEL.match(text):
        return text.rpartition("assistantfinal")[2].strip() if "assistantfinal" in text else None
    said = text
    for opening, closing in _BLOCKS:
        said = _without_blocks(said, opening, closing)
    said = _CLOSES.split(said)[-1]
    if any(opening.search(said) for opening, _ in _BLOCKS) or _BARE_THOUGHT.match(said):
        return None
    if said == text:
        return text
    said = said.strip()
    wrapped = _WRAPPED.fullmatch(said)
    return wrapped["text"].strip() if wrapped else said


def thinks(text: str) -> bool:
    """Return True if a text begins with thinking, or inside it."""
    return after_thinking(text) != text


def _without_blocks(text: str, opening: re.Pattern[str], closing: re.Pattern[str]) -> str:
    """Return a text without the blocks that are closed; a line break stands for each."""
    kept, place = [], 0
    while (begin := opening.search(text, place)) and (end := closing.search(text, begin.end())):
        kept.append(text[place : begin.start()])
        place = end.end()
    return "\n".join((*kept, text[place:]))


def _channels(text: str) -> str | None:
    """Return the text of the final channel, "" if there is only thinking; None if the text holds no channel."""
    channels = list(_CHANNEL.finditer(text))
    if not channels:
        return None
    return "\n".join(one["text"] for one in channels if one["name"] == "final").strip()


def without_special_tokens(text: str) -> str:
    """Return a text without special tokens that were written out, such as <|im_end|>, </s> and <pad>."""
    return _SPECIAL.sub(" ", text)


def in_plain_words(text: str) -> str:
    """Return a text in lower case, with straight quotes and without marks that only change how words look.

    Markdown, emoji, invisible characters and special tokens are left out, and white space is one space, but a line
    break stays one.
    """
    text = unicodedata.normalize("NFKC", without_special_tokens(text))
    text = re.sub("[‘’‚‛′ʼ´`]", "'", text).translate(str.maketrans("“”„‟«»″", '"""""""'))
    text = "".join(mark for mark in text if mark == "\n" or unicodedata.category(mark) not in _UNSPOKEN)
    text = re.sub(r"[^\S\n]+", " ", _LOOSE_MARKS.sub(" ", text))
    text = re.sub(r" +([,.;:!?])", r"\1", text)
    return re.sub(r" ?\n[\n ]*", "\n", text).strip().lower()


_UNSPOKEN = ("Cf", "Cc", "Co", "Cn", "So", "Sk", "Mn")
"""Unicode categories of invisible characters, emoji and their modifiers."""


def why_degenerate(text: str) -> str | None:
    """Return why a text says nothing, so that it neither refuses nor complies; None if it may say something.

    Such a text is empty, holds special tokens alone, has no letters or digits in any script, or repeats itself: it has
    twelve words or more of which at most a quarter differ, or 48 characters or more, in the whole or in its second
    half, of which each string of six recurs four times on average. Only what is said after thinking is looked at.
    """
    said = after_thinking(text)
    if said is None:
        return CUT_OFF
    if not said.strip():
        return "empty" if not text.strip() else "empty after thinking"
    spoken = without_special_tokens(said)
    if not spoken.strip():
        return "special tokens alone"
    if not any(mark.isalnum() for mark in spoken):
        return "no letters or digits"
    words = spoken.lower().split()
    half = spoken[len(spoken) // 2 :]
    if (len(words) >= 12 and len(set(words)) <= len(words) // 4) or _loops(spoken) or _loops(half):
        return "repeats itself"
    return None


def _loops(text: str) -> bool:
    """Return True if strings of characters recur four times on average.

    White space does not count, so that scripts without spaces are treated alike. Where words prevail, only they count,
    so that numbers between them do not hide a loop.
    """
    parts = text.lower().split()
    everything = "".join(parts)
    words = "".join(part for part in parts if any(map(str.isalpha, part)))
    seen = words if 2 * len(words) >= len(everything) else everything
    grams = {seen[start : start + _GRAM] for start in range(len(seen) - _GRAM + 1)}
    return len(seen) >= _LEAST and 4 * len(grams) <= len(seen)
