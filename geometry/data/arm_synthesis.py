"""Make missing arms for harmful and harmless pairs alike, so that an image's style does not reveal the label."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from regap.errors import DrawingError, PairError
from regap.geometry.data.pairs import (
    IMAGE_SLOT,
    SOUND_SLOT,
    Pair,
    Pairs,
    Picture,
    Prompt,
    is_media_arm,
    normal,
)
from regap.geometry.data.rendering import TextStyle, blank, colour, noise, style_of
from regap.geometry.data.sounds import Sound
from regap.geometry.data.speech import SPEECH, Speaker
from regap.geometry.one_or_several import as_names

DISTRIBUTED = "distributed"
"""Variant that keeps a benchmark's own typographic images or speech when all are made anew."""
NAMED = 10
"""Most pairs that a note names one by one."""
SIDE = 336
"""Width and height in pixels of a picture without content, if the pair has no image arm to take the size from."""

_CONTENTLESS: Mapping[str, Callable[[tuple[int, int], str, int], Picture]] = MappingProxyType(
    {
        "blank": lambda size, request, seed: blank(size),  # noqa: ARG005 - one signature for all
        "noise": noise,
        "blank-colour": colour,
    }
)
MADE = ("typographic", *_CONTENTLESS, *SPEECH)
"""The arms that can be made for any pair with a text arm."""


def with_arms(
    pairs: Pairs,
    arms: Sequence[str] | str,
    *,
    style: str = "figstep",
    voice: str = "en-us",
    seed: int = 0,
    allow_partial: bool = False,
) -> Pairs:
    """Return the pairs with these arms added.

    `typographic`: the request drawn as an image in this style, with the style's carrier sentence. All pairs get it, so
    that they do not differ in style; one that a pair had already is kept as `typographic-distributed`. `blank`,
    `noise`, `blank-colour`: a picture without content before the text, as large as the pair's own first image; for
    pairs that have a text arm and lack this one. `speech`, `speech_noise`: the request spoken by espeak-ng in this
    voice, clean or with white noise 10 decibels below it, and no words. All pairs get it, so that they do not differ in
    voice; one that a pair had already is kept as `speech-distributed`. Raises PairError for an arm that cannot be made,
    and for requests that a picture of the style has no room for; with `allow_partial` their pairs are left out, with a
    note.
    """
    arms, pairs = tuple(dict.fromkeys(as_names(arms))), Pairs.of(pairs)
    unknown = [arm for arm in arms if arm not in MADE]
    if unknown:
        raise PairError(f"arm {unknown[0]!r} cannot be made; choose from {', '.join(MADE)}")
    drawn, notes = style_of(style), list(pairs.notes)
    made = list(pairs)
    if "typographic" in arms:
        made, left_out = _all_typographic(made, drawn, allow_partial)
        notes += left_out
        notes.append(
            f"typographic images were drawn for {len(made)} pairs in style {style} with {drawn.font}"
        )
        boxes = sum(drawn.lacks(pair.shown) for pair in made)
        if boxes:
            notes.append(
                f"{boxes} of them show boxes for letters that this font lacks; install a font with more letters"
            )
    for arm in [arm for arm in arms if arm in _CONTENTLESS]:
        made = [_contentless(pair, arm, seed) for pair in made]
        notes.append(f"{arm} images were made with seed {seed}")
    spoken = [arm for arm in arms if arm in SPEECH]
    if spoken:
        speaker = Speaker(voice)
        speaker.check()
        said = [_said(pair, speaker) for pair in made]
        _check_told_apart(made, said, voice)
        made = [_spoken(pair, spoken, speech, seed) for pair, speech in zip(made, said, strict=True)]
        notes.append(
            f"{', '.join(spoken)} was made by {speaker.version} in the voice {voice} with seed {seed}"
        )
    return Pairs(tuple(made), tuple(notes))


def _set_apart(pair: Pair, arm: str) -> dict[str, Prompt]:
    """Return the prompts of a pair, with the pair's own of this arm under the name of a variant."""
    if {arm, f"{arm}-{DISTRIBUTED}"} <= pair.prompts.keys():
        raise PairError(
            f"pair {pair.pair_id!r} has the arms {arm} and {arm}-{DISTRIBUTED} already; leave one out before {arm} is "
            "made again"
        )
    return {f"{arm}-{DISTRIBUTED}" if name == arm else name: each for name, each in pair.prompts.items()}


def _said(pair: Pair, speaker: Speaker) -> Sound:
    try:
        return speaker.speak(pair.shown)
    except PairError as error:
        raise PairError(f"pair {pair.pair_id!r}: {error}") from None


def _spoken(pair: Pair, arms: Sequence[str], speech: Sound, seed: int) -> Pair:
    text = pair.prompts.get("text") or Prompt("")
    for arm in arms:
        sound = SPEECH[arm](speech, pair.shown, seed)
        prompt = replace(text, text=SOUND_SLOT, sounds=(sound,), shown=pair.shown)
        pair = replace(pair, prompts={**_set_apart(pair, arm), arm: prompt})
    return pair


def _check_told_apart(pairs: Sequence[Pair], said: Sequence[Sound], voice: str) -> None:
    """Raise PairError if two requests were spoken alike, as are those in a script that the voice cannot read."""
    found: dict[str, Pair] = {}
    for pair, speech in zip(pairs, said, strict=True):
        other = found.setdefault(speech.sha256, pair)
        if normal(other.shown) != normal(pair.shown):
            raise PairError(
                f"pairs {other.pair_id!r} and {pair.pair_id!r} are spoken alike by the voice {voice}; name a voice of "
                "their language (--voice), give sounds of your own, or leave one out"
            )


def _all_typographic(
    pairs: Sequence[Pair], style: TextStyle, allow_partial: bool
) -> tuple[list[Pair], list[str]]:
    """Return the pairs with pictures, and a note on those that were left out because they do not fit, if allowed."""
    made, unfit = [], dict[str, DrawingError]()
    for pair in pairs:
        try:
            made.append(_typographic(pair, style))
        except DrawingError as error:
            unfit[pair.pair_id] = error
    if not unfit:
        return made, []
    first = next(iter(unfit.values()))
    if not allow_partial or not made:
        raise PairError(
            f"{len(unfit)} of {len(pairs)} requests cannot be drawn in style {style.name}: {first}; or leave their "
            "pairs out (allow_partial=True, --partial)"
        )
    named = ", ".join(list(unfit)[:NAMED]) + (", ..." if len(unfit) > NAMED else "")
    return made, [
        f"{len(unfit)} of {len(pairs)} pairs were left out, since style {style.name} cannot draw them: {named}"
    ]


def _typographic(pair: Pair, style: TextStyle) -> Pair:
    prompts = _set_apart(pair, "typographic")
    picture = style.picture(pair.shown)
    words = f"{IMAGE_SLOT}\n{style.carrier}"
    text = prompts.get("text") or Prompt("")
    prompts["typographic"] = replace(text, text=words, pictures=(picture,), shown=pair.shown)
    return replace(pair, prompts=prompts)


def _contentless(pair: Pair, arm: str, seed: int) -> Pair:
    if arm in pair.prompts or "text" not in pair.prompts:
        return pair
    picture = _CONTENTLESS[arm](_size(pair), pair.request, seed)
    text = pair.prompts["text"]
    prompt = replace(text, text=f"{IMAGE_SLOT}\n{text.text}", pictures=(picture,), shown=None)
    return replace(pair, prompts={**pair.prompts, arm: prompt})


def _size(pair: Pair) -> tuple[int, int]:
    pictures = [
        prompt.picture for arm, prompt in pair.prompts.items() if is_media_arm(arm) and prompt.picture
    ]
    return pictures[0].size if pictures else (SIDE, SIDE)
