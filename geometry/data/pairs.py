"""What a model is asked: one request, harmful or harmless, rendered in several arms."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

from regap.errors import PairError
from regap.geometry.data.media import Media
from regap.geometry.data.pictures import Picture
from regap.geometry.data.sounds import Sound

Label = Literal["harmful", "harmless"]
Split = Literal["calibration", "test"]

SPEECH_ARMS = ("speech", "speech_noise")
"""Arms with a sound: the request spoken, and spoken in noise."""
ARMS = ("text", "typographic", "picture", "picture_typographic", *SPEECH_ARMS, "caption", "blank", "noise")
TEXT_ARMS = ("text", "caption")
"""Arms in words alone; the others have a picture or a sound."""
IMAGE_SLOT = "<image>"
SOUND_SLOT = "<audio>"


@dataclass(frozen=True)
class Turn:
    """One earlier message of a conversation, text only."""

    role: Literal["user", "assistant"]
    text: str

    def __post_init__(self) -> None:
        if self.role not in ("user", "assistant"):
            raise PairError(f"a turn has the role {str(self.role)[:40]!r}; write user or assistant")
        check_words("the text of a turn", self.text)
        if not self.text.strip() or IMAGE_SLOT in self.text:
            raise PairError(f"a turn has the text {self.text[:60]!r}; write words, without {IMAGE_SLOT}")


@dataclass(frozen=True)
class Prompt:
    """One user message with its pictures and sounds; `<image>` and `<audio>` in the text mark the place of each."""

    text: str
    """The message; contains IMAGE_SLOT once for each picture and SOUND_SLOT once for each sound, in order.

    In a message without sounds, SOUND_SLOT is a word as any other."""
    pictures: tuple[Picture, ...] = ()
    """Empty for a text-only prompt."""
    system: str | None = None
    """The system message; None for no system message."""
    shown: str | None = None
    """The words in its picture or sound; for a text, in one made of it. None: the request; empty: not known."""
    turns: tuple[Turn, ...] = ()
    """The earlier turns of the conversation: user and assistant in turn, the assistant last."""
    sounds: tuple[Sound, ...] = ()
    """Empty for a prompt that is not heard."""

    def __post_init__(self) -> None:
        for name, kind in (("pictures", Picture), ("turns", Turn), ("sounds", Sound)):
            given = getattr(self, name)
            several = (given,) if isinstance(given, kind) else tuple(given)
            if not all(isinstance(each, kind) for each in several):
                raise PairError(f"{name} is {str(given)[:60]!r}; give {name} as a list of {kind.__name__}")
            object.__setattr__(self, name, several)
        check_words("text", self.text)
        for name in ("system", "shown"):
            if getattr(self, name) is not None:
                check_words(name, getattr(self, name))
        roles = [turn.role for turn in self.turns]
        if roles != ["user", "assistant"] * (len(roles) // 2):
            raise PairError(
                f"turns are by {', '.join(roles)}; write user and assistant in turn, the assistant last, since the "
                "message itself is the user's next turn"
            )
        self._check_slots(IMAGE_SLOT, "picture", len(self.pictures))
        if self.sounds:
            self._check_slots(SOUND_SLOT, "sound", len(self.sounds))

    def _check_slots(self, slot: str, name: str, count: int) -> None:
        slots = self.text.count(slot)
        if slots != count:
            raise PairError(
                f"text {self.text[:60]!r} has {slots} x {slot} and {count or 'no'} {name}{'s' * (count > 1)}; "
                f"write {slot} once where each {name} goes, and only there"
            )

    @property
    def media(self) -> tuple[Media, ...]:
        """The pictures, then the sounds."""
        return (*self.pictures, *self.sounds)

    @property
    def slots(self) -> tuple[str, ...]:
        """IMAGE_SLOT and SOUND_SLOT in the order of the text."""
        return tuple(self._pieces[1::2])

    @property
    def words(self) -> tuple[str, ...]:
        """The text before, between and after the slots: one more than there are slots."""
        return tuple(self._pieces[::2])

    @cached_property
    def _pieces(self) -> list[str]:
        known = (IMAGE_SLOT, SOUND_SLOT) if self.sounds else (IMAGE_SLOT,)
        return re.split("(" + "|".join(map(re.escape, known)) + ")", self.text)

    @property
    def picture(self) -> Picture | None:
        """The first picture, None if there is none."""
        return self.pictures[0] if self.pictures else None


@dataclass(frozen=True)
class Pair:
    """One request and its renderings; all arms of a pair make the same request."""

    pair_id: str
    """Unique name of the request."""
    label: Label
    """Whether a safe model should refuse it."""
    category: str
    """Kind of request, for tables by category."""
    request: str
    """The request in words, as judges see it; not the carrier sentence."""
    split: Split
    """calibration: used to choose directions, layers and thresholds; test: used for every reported number."""
    prompts: Mapping[str, Prompt]
    """The prompt of each arm; there is a `text` arm if text without an image carries the whole request."""
    answer: str | None = None
    """The right answer, None if it is not known."""
    cluster: str = ""
    """Pairs of one cluster are resampled together in intervals; by default each pair is its own cluster."""

    def __post_init__(self) -> None:
        for name in (
            "pair_id",
            "category",
            "request",
            "cluster",
            *(["answer"] if self.answer is not None else []),
        ):
            check_words(name, getattr(self, name))
        if not self.request.strip():
            raise PairError(f"pair {self.pair_id!r}: request is empty; give it in words")
        for name, allowed in (("label", get_args(Label)), ("split", get_args(Split))):
            if getattr(self, name) not in allowed:
                raise PairError(
                    f"pair {self.pair_id!r}: {name} is {getattr(self, name)!r}; write one of {', '.join(allowed)}"
                )
        if not self.prompts:
            raise PairError(f"pair {self.pair_id!r} has no arm; add a row with arm=text or an image arm")
        for arm, prompt in self.prompts.items():
            if not isinstance(prompt, Prompt):
                raise PairError(
                    f"pair {self.pair_id!r}, arm {arm}: {str(prompt)[:60]!r} is not a Prompt; write Prompt(text)"
                )
            try:
                check_media(arm, prompt)
            except PairError as error:
                raise PairError(f"pair {self.pair_id!r}: {error}") from None
        if not self.cluster:
            object.__setattr__(self, "cluster", self.pair_id)

    @property
    def shown(self) -> str:
        """The words in a picture or sound made of this request: `shown` of the text arm, else the request."""
        text = self.prompts.get("text")
        return (text and text.shown) or self.request

    def words_in(self, arm: str) -> str | None:
        """The words in the picture or sound of an arm; None if they are not known."""
        shown = self.prompts[arm].shown
        return self.request if shown is None else shown or None


@dataclass(frozen=True)
class Pairs:
    """A non-empty collection of pairs with unique names."""

    pairs: tuple[Pair, ...]
    """In the order given."""
    notes: tuple[str, ...] = ()
    """What was left out or made when these pairs were read, one line each; stored with a run's provenance."""

    def __post_init__(self) -> None:
        given = (self.pairs,) if isinstance(self.pairs, Pair) else tuple(self.pairs)
        object.__setattr__(self, "pairs", given)
        if not self.pairs:
            raise PairError("there are no pairs; give at least one harmful and one harmless pair")
        others = [each for each in self.pairs if not isinstance(each, Pair)]
        if others:
            raise PairError(
                f"pairs hold {str(others[0])[:60]!r}, which is not a Pair; read a file with read_pairs"
            )
        seen: set[str] = set()
        for pair in self.pairs:
            if pair.pair_id in seen:
                raise PairError(f"pair_id {pair.pair_id!r} stands for two requests; make pair_id unique")
            seen.add(pair.pair_id)

    @classmethod
    def of(cls, given: "Pairs | Pair | Iterable[Pair]") -> "Pairs":
        """Return pairs unchanged, and one pair or several as pairs."""
        if isinstance(given, Pairs):
            return given
        if not isinstance(given, Pair | Iterable):
            raise PairError(f"pairs is {given!r}; give the result of read_pairs, or a list of pairs")
        return cls((given,) if isinstance(given, Pair) else tuple(given))

    def __iter__(self) -> Iterator[Pair]:
        return iter(self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)

    @cached_property
    def arms(self) -> tuple[str, ...]:
        """The arms that at least one pair has, text first."""
        found = {arm for pair in self.pairs for arm in pair.prompts}
        return tuple(sorted(found, key=lambda arm: (_arm_rank(arm), arm)))

    @property
    def calibration(self) -> "Pairs":
        """The pairs on which directions, layers and thresholds are chosen."""
        return self.where(split="calibration")

    @property
    def test(self) -> "Pairs":
        """The pairs on which results are reported."""
        return self.where(split="test")

    def where(self, *, split: str | None = None, label: str | None = None, arm: str | None = None) -> "Pairs":
        """Return the pairs of this split and label that have this arm; raises PairError if there are none."""
        if not isinstance(arm, str | None):
            raise PairError(f"arm is {arm!r}; name one arm")
        kept = tuple(
            pair
            for pair in self.pairs
            if (split in (None, pair.split))
            and (label in (None, pair.label))
            and (arm is None or arm in pair.prompts)
        )
        if not kept:
            asked = {"split": split, "label": label, "arm": arm}
            wanted = ", ".join(f"{name}={value}" for name, value in asked.items() if value is not None)
            raise PairError(f"no pair has {wanted}; the pairs given have arms {', '.join(self.arms)}")
        return Pairs(kept, self.notes)

    def require_text(self) -> "Pairs":
        """Return these pairs; raises PairError unless each has a text arm, which drift is measured against."""
        without = [pair.pair_id for pair in self.pairs if "text" not in pair.prompts]
        if without:
            others = f", and {len(without) - 1} others have none" if len(without) > 1 else ""
            raise PairError(f"pair {without[0]!r} has no text arm; add a row with arm=text{others}")
        return self

    def require_both_labels(self) -> "Pairs":
        """Return these pairs; raises PairError unless each split has harmful and harmless pairs with a text arm."""
        for split in get_args(Split):
            for label in get_args(Label):
                found = [pair for pair in self.pairs if pair.split == split and pair.label == label]
                if not found:
                    raise PairError(
                        f"no {label} pair in the {split} split; separability needs both labels in both splits: "
                        f"add {label} pairs or set the split column"
                    )
                if not any("text" in pair.prompts for pair in found):
                    raise PairError(
                        f"no {label} pair in the {split} split has a text arm; the refusal direction is fitted on "
                        "text: add a row with arm=text, or pairs that have one"
                    )
        return self

    def first(self, count: int) -> "Pairs":
        """Return the first `count` pairs of each split and label, in order; PairError for a count below 1."""
        if count < 1:
            raise PairError(f"count is {count}; give at least 1")
        kept, taken = [], {}
        for pair in self.pairs:
            key = (pair.split, pair.label)
            taken[key] = taken.get(key, 0) + 1
            if taken[key] <= count:
                kept.append(pair)
        return Pairs(tuple(kept), self.notes)

    def __add__(self, other: "Pairs") -> "Pairs":
        return Pairs(self.pairs + other.pairs, self.notes + other.notes)


def is_media_arm(arm: str) -> bool:
    """Return True for an arm that shows the request as an image, or speaks it."""
    return is_speech_arm(arm) or arm.split("-")[0] in ("typographic", "picture", "picture_typographic")


def is_speech_arm(arm: str) -> bool:
    """Return True for an arm that speaks the request."""
    return arm.split("-")[0] in SPEECH_ARMS


def normal(request: str) -> str:
    """Return the request in lower case, with anything but letters, digits and underscores replaced by one space."""
    return re.sub(r"\W+", " ", request).strip().lower()


def split_of(request: str, calibration_share: float = 0.4) -> Split:
    """Return the split of a request, by a hash; requests that are equal up to case and punctuation share it."""
    draw = int.from_bytes(hashlib.sha256(normal(request).encode()).digest()[:8], "big") / 2**64
    return "calibration" if draw < calibration_share else "test"


def check_arm(arm: str) -> str:
    """Return the arm; raises PairError unless it is a known arm or `arm-variant`."""
    kind, _, variant = arm.partition("-")
    if kind not in ARMS or not re.fullmatch(r"[A-Za-z0-9_-]*", variant):
        raise PairError(
            f"arm {arm!r} is not known; write one of {', '.join(ARMS)}, "
            "or one of them with a variant: typographic-large"
        )
    return arm


def check_words(name: str, given: object) -> None:
    """Raise PairError unless this is text that can be written in UTF-8."""
    if not isinstance(given, str):
        raise PairError(f"{name} is {str(given)[:60]!r}, of type {type(given).__name__}; write it as text")
    try:
        given.encode()
    except UnicodeEncodeError as error:
        raise PairError(
            f"{name} holds half of a surrogate pair ({given[error.start]!a}), which is no letter; write it again"
        ) from None


def check_media(arm: str, prompt: Prompt) -> None:
    """Raise PairError for a picture or a sound in an arm that has none, and for an arm that lacks its own."""
    kind = arm.split("-")[0]
    if kind not in ARMS:
        return
    speaks = is_speech_arm(arm)
    wanted = "sound" if speaks else "" if kind in TEXT_ARMS else "picture"
    has = {"picture": bool(prompt.pictures), "sound": bool(prompt.sounds)}
    column = {"picture": "image", "sound": "audio"}
    for name in has:
        if has[name] and name != wanted:
            asked = "spoken" if speaks else "asked with a picture" if wanted else "asked in words"
            other = "picture" if name == "picture" else "speech"
            raise PairError(
                f"arm {arm} has a {name}, but is {asked}; leave the {name} ({column[name]}) out, or name the arm "
                f"{other}"
            )
    if wanted and not has[wanted]:
        raise PairError(
            f"arm {arm} has no {wanted}, but is asked with one; give the {wanted} ({column[wanted]}), or leave the arm "
            "out"
        )


def _arm_rank(arm: str) -> int:
    kind = arm.split("-")[0]
    return ARMS.index(kind) if kind in ARMS else len(ARMS)
