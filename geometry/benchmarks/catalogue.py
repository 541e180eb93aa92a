"""All benchmarks there are, by name."""

from collections.abc import Mapping
from difflib import get_close_matches
from types import MappingProxyType

from regap.geometry.benchmarks import (
    advbench,
    figstep,
    hades,
    harmbench,
    instructions,
    jailbreakbench,
    jailbreakv,
    llava_instruct,
    mm_safetybench,
    mm_vet,
    mmbench,
    mme,
    mmmu,
    mossbench,
    mssbench,
    omni_safetybench,
    or_bench,
    pope,
    scienceqa,
    siuo,
    strongreject,
    vlguard,
    vlsafe,
    xstest,
)
from regap.geometry.benchmarks.card import Card
from regap.geometry.pairs import PairError

_MODULES = (
    figstep,
    mm_safetybench,
    harmbench,
    jailbreakbench,
    advbench,
    strongreject,
    xstest,
    mossbench,
    vlguard,
    vlsafe,
    hades,
    jailbreakv,
    siuo,
    mssbench,
    omni_safetybench,
    or_bench,
    instructions,
    llava_instruct,
    mme,
    pope,
    scienceqa,
    mmbench,
    mmmu,
    mm_vet,
)
CATALOGUE: Mapping[str, Card] = MappingProxyType(
    {card.name: card for module in _MODULES for card in module.CARDS}
)
"""In the order of the table that `regap benchmarks` prints."""


def card_of(name: str) -> Card:
    """Return what is known of a benchmark; PairError proposes the nearest names."""
    if name in CATALOGUE:
        return CATALOGUE[name]
    near = get_close_matches(name.lower(), CATALOGUE, n=3, cutoff=0.4)
    remedy = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(CATALOGUE)}"
    raise PairError(f"benchmark {name!r} is not known; {remedy}")
