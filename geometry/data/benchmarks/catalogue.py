"""All benchmarks by name."""

from collections.abc import Mapping
from difflib import get_close_matches
from types import MappingProxyType

from regap.errors import PairError
from regap.geometry.data.benchmarks.attacks import (
    figstep,
    hades,
    jailbreakv,
    mm_safetybench,
    mssbench,
    omni_safetybench,
    siuo,
    vlguard,
    vlsafe,
)
from regap.geometry.data.benchmarks.card import BenchmarkCard
from regap.geometry.data.benchmarks.questions import (
    llava_instruct,
    mm_vet,
    mmbench,
    mme,
    mmmu,
    pope,
    scienceqa,
)
from regap.geometry.data.benchmarks.requests import (
    advbench,
    english,
    harmbench,
    instructions,
    jailbreakbench,
    mossbench,
    or_bench,
    strongreject,
    xstest,
)

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
    english,
    llava_instruct,
    mme,
    pope,
    scienceqa,
    mmbench,
    mmmu,
    mm_vet,
)
CATALOGUE: Mapping[str, BenchmarkCard] = MappingProxyType(
    {card.name: card for module in _MODULES for card in module.CARDS}
)
"""In the order of the table that `regap benchmarks` prints."""


def card_of(name: str) -> BenchmarkCard:
    """Return the card of a benchmark; raises PairError, with the nearest names, for an unknown one."""
    if name in CATALOGUE:
        return CATALOGUE[name]
    near = get_close_matches(name.lower(), CATALOGUE, n=3, cutoff=0.4)
    remedy = f"did you mean {' or '.join(near)}?" if near else f"choose one of {', '.join(CATALOGUE)}"
    raise PairError(f"benchmark {name!r} is not known; {remedy}")
