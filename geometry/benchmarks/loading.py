"""From a benchmark's folder to pairs: pictures found, twins kept together, counts checked against the published."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from regap.geometry.benchmarks.card import Card
from regap.geometry.benchmarks.catalogue import card_of
from regap.geometry.benchmarks.entry import Entry
from regap.geometry.benchmarks.hub import fetch
from regap.geometry.benchmarks.pictures import Gallery
from regap.geometry.benchmarks.source import Source
from regap.geometry.benchmarks.twins import twins_together
from regap.geometry.pairs import Pair, PairError, Pairs, normal

PARTIAL = "download the rest, or allow a partial benchmark (allow_partial=True, --partial)"


def benchmark(
    name: str,
    folder: str | Path | None = None,
    *,
    arms: Sequence[str] | None = None,
    download: bool = False,
    allow_partial: bool = False,
) -> Pairs:
    """Return the pairs of a benchmark that lies in a folder as it is distributed, or in the folder of its name there.

    With `arms`, only these are read, and pictures of no others need be there. With `download`, the files are first
    fetched from the hub into the folder. Rows or pictures that are missing are an error, or, with `allow_partial`,
    a line in the notes; anything else that is wrong is an error. Twins share a cluster and a split. PairError names
    file, row and remedy.
    """
    card = card_of(name)
    source = Source(card.name, _home(card, folder, download))
    gallery = Gallery(card.name, source.folder)
    try:
        entries = _entries(source, card)
        made = [_pair(card, gallery, entry, arms) for entry in entries]
    finally:
        gallery.close()
    pairs = [pair for pair in made if pair]
    complaints = [line for line in (gallery.complaint(), _miscount(card, entries)) if line]
    if not pairs:
        complaints = complaints or [f"{card.name}: no row has the arms {', '.join(arms or card.arms)}"]
    if not pairs or (complaints and not allow_partial):
        hint = f" ({card.note})" if card.note and gallery.missing else ""
        raise PairError(f"{'; '.join(complaints)}; {PARTIAL}{hint}")
    return twins_together(Pairs(tuple(pairs), (*source.notes, *complaints)))


def harmless(
    name: str = "everyday",
    folder: str | Path | None = None,
    *,
    count: int | None = None,
    arms: Sequence[str] | None = None,
    download: bool = False,
    allow_partial: bool = False,
) -> Pairs:
    """Return harmless pairs from a source of them; `everyday` is bundled and needs no folder.

    With `count`, at most so many: which ones, a hash of the request decides, not the order of the file. From a
    benchmark with both labels, only the harmless pairs are taken.
    """
    pairs = benchmark(name, folder, arms=arms, download=download, allow_partial=allow_partial)
    kept = pairs.where(label="harmless")
    if count is None or count >= len(kept):
        return kept
    chosen = {pair.pair_id for pair in sorted(kept, key=_draw)[:count]}
    note = f"{name}: {count} of {len(kept)} harmless pairs were drawn"
    return Pairs(tuple(pair for pair in kept if pair.pair_id in chosen), (*kept.notes, note))


def _home(card: Card, folder: str | Path | None, download: bool) -> Path:
    bundled = Path(__file__).parent
    if card.bundled:
        return bundled
    if folder is None:
        raise PairError(f"benchmark {card.name} needs the folder that it lies in; get it from {card.home}")
    place = fetch(card, Path(folder)) if download else Path(folder)
    if not place.is_dir():
        raise PairError(f"benchmark folder {place} is not there; name the folder that was downloaded")
    return card.folder_in(place) or place


def _entries(source: Source, card: Card) -> list[Entry]:
    entries = list(card.load(source))
    if not entries:
        raise PairError(f"{card.name}: there is no row to be used in {source.folder}; download it again")
    names = Counter(entry.name for entry in entries)
    twice = next((name for name, count in names.items() if count > 1), None)
    if twice is not None:
        raise PairError(
            f"{card.name}: the id {twice!r} stands there {names[twice]} times; remove rows or download again"
        )
    return entries


def _pair(card: Card, gallery: Gallery, entry: Entry, arms: Sequence[str] | None) -> Pair | None:
    found = {
        arm: gallery.prompt(message) for arm, message in entry.messages.items() if arms is None or arm in arms
    }
    prompts = {arm: prompt for arm, prompt in found.items() if prompt}
    if not prompts:
        return None
    name = f"{card.name}/{entry.name}"
    by_words = normal(entry.request) if "text" in entry.messages else ""
    pair = Pair(name, entry.label, entry.category, entry.request, "test", prompts, entry.answer)
    return replace(pair, cluster=entry.twins or by_words or name)


def _miscount(card: Card, entries: Sequence[Entry]) -> str | None:
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
