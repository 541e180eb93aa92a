"""From a benchmark's folder to pairs: read pictures, keep twins together, compare counts with the published ones."""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from regap.errors import PairError
from regap.geometry.data.benchmarks.card import BenchmarkCard, fetch
from regap.geometry.data.benchmarks.catalogue import card_of
from regap.geometry.data.benchmarks.entry import BenchmarkEntry, Message
from regap.geometry.data.benchmarks.gallery import Gallery
from regap.geometry.data.benchmarks.source import BenchmarkFiles
from regap.geometry.data.benchmarks.twins import twins_together
from regap.geometry.data.pairs import IMAGE_SLOT, SOUND_SLOT, Pair, Pairs, Picture, Prompt, Sound, normal
from regap.geometry.one_or_several import as_names

PARTIAL = "download the rest, or allow a partial benchmark (allow_partial=True, --partial)"


Choice = Callable[[Pairs], Pairs]
"""Which pairs to read, chosen before any picture is read."""


def benchmark(
    name: str,
    folder: str | Path | None = None,
    *,
    arms: Sequence[str] | str | None = None,
    limit: int | None = None,
    download: bool = False,
    allow_partial: bool = False,
) -> Pairs:
    """Return the pairs of a benchmark from its files as they are distributed, in `folder` or a subfolder of its name.

    `arms` reads these arms only, and `limit` only the first so many pairs of each split and label; the pictures of
    other pairs may be absent. `download` first fetches the files from the hub into the folder. Twins share a cluster
    and a split. Raises PairError, with file, row and remedy, for anything wrong; missing rows or pictures become a
    line in the notes if `allow_partial` is True.
    """
    _check_count("limit", limit)
    return _read(
        name, folder, (lambda pairs: pairs.first(limit)) if limit else None, arms, download, allow_partial
    )


def harmless(
    name: str = "everyday",
    folder: str | Path | None = None,
    *,
    count: int | None = None,
    arms: Sequence[str] | str | None = None,
    download: bool = False,
    allow_partial: bool = False,
) -> Pairs:
    """Return harmless pairs; `everyday` is bundled and needs no folder.

    `count` is the most pairs to return; they are drawn by a hash of the request, not by the order of the file. Harmful
    pairs of a benchmark with both labels are left out.
    """
    _check_count("count", count)
    return _read(
        name,
        folder,
        lambda pairs: _drawn(pairs.where(label="harmless"), count),
        arms,
        download,
        allow_partial,
    )


def _check_count(name: str, count: int | None) -> None:
    if count is not None and count < 1:
        raise PairError(f"{name} is {count}; give at least 1, or leave it out for all")


def _drawn(pairs: Pairs, count: int | None) -> Pairs:
    if count is None or count >= len(pairs):
        return pairs
    chosen = {pair.pair_id for pair in sorted(pairs, key=_draw)[:count]}
    name = pairs.pairs[0].pair_id.split("/")[0]
    note = f"{name}: {count} of {len(pairs)} harmless pairs were drawn"
    return Pairs(tuple(pair for pair in pairs if pair.pair_id in chosen), (note,))


def _read(
    name: str,
    folder: str | Path | None,
    chosen: Choice | None,
    arms: Sequence[str] | str | None,
    download: bool,
    allow_partial: bool,
) -> Pairs:
    """Return the pairs of a benchmark, or those that `chosen` returns; only their pictures are read."""
    card, arms = card_of(name), None if arms is None else as_names(arms)
    source = BenchmarkFiles(card.name, _home(card, folder, download))
    gallery = Gallery(card.name, source.folder)
    try:
        entries = _entries(source, card)
        unseen = _unseen(card, entries, arms)
        kept = chosen(unseen) if chosen and unseen else unseen
        named = {_name(card, entry): entry for entry in entries}
        seen = [(pair, _prompts(gallery, named[pair.pair_id], arms)) for pair in kept or ()]
    finally:
        gallery.close()
    pairs = [replace(pair, prompts=prompts) for pair, prompts in seen if prompts]
    complaints = [line for line in (gallery.complaint(), _miscount(card, entries)) if line]
    if not pairs:
        complaints = complaints or [f"{card.name}: no row has the arms {', '.join(arms or card.arms)}"]
    if not pairs or (complaints and not allow_partial):
        hint = f" ({card.note})" if card.note and gallery.missing else ""
        raise PairError(f"{'; '.join(complaints)}; {PARTIAL}{hint}")
    notes = kept.notes if kept else ()
    return Pairs(tuple(pairs), (*source.notes, *complaints, *notes))


def _home(card: BenchmarkCard, folder: str | Path | None, download: bool) -> Path:
    bundled = Path(__file__).parent
    if card.bundled:
        return bundled
    if folder is None:
        raise PairError(f"benchmark {card.name} needs the folder of its files; get it from {card.home}")
    place = fetch(card, Path(folder)) if download else Path(folder)
    if not place.is_dir():
        raise PairError(f"benchmark folder {place} does not exist; name the folder that was downloaded")
    return card.folder_in(place) or place


def _entries(source: BenchmarkFiles, card: BenchmarkCard) -> list[BenchmarkEntry]:
    entries = list(card.load(source))
    if not entries:
        raise PairError(f"{card.name}: no usable row in {source.folder}; download it again")
    names = Counter(entry.name for entry in entries)
    twice = next((name for name, count in names.items() if count > 1), None)
    if twice is not None:
        raise PairError(
            f"{card.name}: the id {twice!r} occurs {names[twice]} times; remove rows or download again"
        )
    return entries


def _unseen(
    card: BenchmarkCard, entries: Sequence[BenchmarkEntry], arms: Sequence[str] | None
) -> Pairs | None:
    """Return the pairs with their splits and pictures that are not read; None if no row has any of the arms."""
    pairs = tuple(_pair(card, entry, arms) for entry in entries if _arms(entry, arms))
    return twins_together(Pairs(pairs)) if pairs else None


def _arms(entry: BenchmarkEntry, arms: Sequence[str] | None) -> list[str]:
    return [arm for arm in entry.messages if arms is None or arm in arms]


def _name(card: BenchmarkCard, entry: BenchmarkEntry) -> str:
    return f"{card.name}/{entry.name}"


def _prompts(gallery: Gallery, entry: BenchmarkEntry, arms: Sequence[str] | None) -> dict[str, Prompt]:
    found = {arm: gallery.prompt(entry.messages[arm]) for arm in _arms(entry, arms)}
    return {arm: prompt for arm, prompt in found.items() if prompt}


def _pair(card: BenchmarkCard, entry: BenchmarkEntry, arms: Sequence[str] | None) -> Pair:
    prompts = {arm: _unread(entry.messages[arm]) for arm in _arms(entry, arms)}
    name = _name(card, entry)
    by_words = normal(entry.request) if "text" in entry.messages else ""
    pair = Pair(name, entry.label, entry.category, entry.request, "test", prompts, entry.answer)
    return replace(pair, cluster=entry.twins or by_words or name)


def _unread(message: Message) -> Prompt:
    """Return a prompt that stands for the message until its pictures and sounds are read."""
    pictures, sounds = (Picture(b""),) * len(message.images), (Sound(b""),) * len(message.sounds)
    return Prompt(IMAGE_SLOT * len(pictures) + SOUND_SLOT * len(sounds), pictures, sounds=sounds)


def _miscount(card: BenchmarkCard, entries: Sequence[BenchmarkEntry]) -> str | None:
    if not card.rows or len(entries) in card.rows:
        return None
    found = Counter(entry.category for entry in entries)
    apart = [
        f"{category} {found[category]} of {count}"
        for category, count in card.counts.items()
        if found[category] != count
    ]
    published = " or ".join(f"{count:,}" for count in card.rows)
    details = f" ({', '.join(apart[:4])}{', ...' if len(apart) > 4 else ''})" if apart else ""
    return f"{card.name}: {len(entries):,} pairs, published are {published}{details}"


def _draw(pair: Pair) -> str:
    return hashlib.sha256(f"{normal(pair.request)}\0{pair.pair_id}".encode()).hexdigest()
